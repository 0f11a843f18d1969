"""Which model names are served, and what each is called on Claude's command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import ConfigError, ModelNotFound
from claude_openai.protocol.models import ModelCatalog, model_list, model_object
from tests.openai_schema import strict_openai_model, validate

CATALOG = ModelCatalog("sonnet", ("house-model",))


@pytest.mark.parametrize(
    ("asked", "claude"),
    [
        ("claude-sonnet", "sonnet"),
        ("claude-opus", "opus"),
        ("claude-haiku", "haiku"),
        ("sonnet", "sonnet"),
        ("opus", "opus"),
        ("haiku", "haiku"),
        ("fable", "fable"),
        ("claude-fable", "fable"),
        ("best", "best"),
        ("opus[1m]", "opus[1m]"),
        ("claude-opus[1m]", "opus[1m]"),
        ("claude", "sonnet"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929"),
        ("claude-3.5-haiku@20241022", "claude-3.5-haiku@20241022"),
        ("claude-opus-4-1[1m]", "claude-opus-4-1[1m]"),
        ("house-model", "house-model"),
    ],
)
def test_a_known_name_becomes_the_name_claude_knows(asked: str, claude: str) -> None:
    assert CATALOG.resolve(asked) == claude


@pytest.mark.parametrize(
    "asked",
    [
        "gpt-4o",
        "Sonnet",
        "claude-",
        "claude-sonet",
        "claude-opus[2m]",
        "claude-opus[1m][1m]",
        "[1m]",
        "claude-opus-4[2m]",
        "claude-opus-4\n",
        "claude-Opus-4",
        "claude-opus-\u0664",
        "claude-opus 4",
        "claude-" + "4" * 129,
        "--dangerously-skip-permissions",
        "-p",
        " sonnet",
        "",
        "\x00",
    ],
)
def test_any_other_name_is_a_404_that_tells_where_the_names_are(asked: str) -> None:
    with pytest.raises(ModelNotFound, match=r"does not exist\..*GET /v1/models") as raised:
        CATALOG.resolve(asked)
    assert (raised.value.status, raised.value.code, raised.value.param) == (404, "model_not_found", "model")


def test_a_long_unknown_name_is_shown_shortened() -> None:
    with pytest.raises(ModelNotFound) as raised:
        CATALOG.resolve("x" * 1_000_000)
    assert len(raised.value.message) < 300


@given(st.one_of(st.text(), st.from_regex(r"claude-.*", fullmatch=True), st.from_regex(r"-.*")))
def test_no_resolved_name_could_be_taken_for_a_flag_or_hold_blanks(asked: str) -> None:
    try:
        name = CATALOG.resolve(asked)
    except ModelNotFound:
        return
    assert name.isascii()
    assert name.isprintable()
    assert " " not in name
    assert not name.startswith("-")


def test_an_override_may_list_the_names_there_are_which_mean_what_they_meant() -> None:
    catalog = ModelCatalog("claude-opus", ("claude-sonnet", "claude", "opus"))
    assert catalog.listing() == ["claude-sonnet", "claude", "opus"]
    assert [catalog.resolve(name) for name in catalog.listing()] == ["sonnet", "opus", "opus"]


@pytest.mark.parametrize("name", ["claude-haiku", "haiku", "claude", "claude-sonnet-4-5-20250929"])
def test_an_override_refuses_no_name_that_is_served_without_it(name: str) -> None:
    assert ModelCatalog("sonnet", ("mine",)).resolve(name) == ModelCatalog("sonnet").resolve(name)


@pytest.mark.parametrize(
    ("default", "claude"),
    [("claude-opus", "opus"), ("haiku", "haiku"), ("claude-opus-4-1", "claude-opus-4-1"), ("mine", "mine")],
)
def test_the_name_claude_stands_for_the_resolved_default_model(default: str, claude: str) -> None:
    assert ModelCatalog(default, ("mine",)).resolve("claude") == claude


@pytest.mark.parametrize("default", ["gpt-4o", "claude", "", "-opus", "opus\n"])
def test_a_default_model_that_stands_for_nothing_is_a_config_error(default: str) -> None:
    with pytest.raises(ConfigError, match="--default-model"):
        ModelCatalog(default)


@pytest.mark.parametrize(
    "name", ["", "-opus", "--print", "my model", "a\tb", "a\x00", "a\n", "caf\u00e9", "\ud800", "m" * 257]
)
def test_an_override_that_is_no_safe_argument_is_a_config_error_of_one_line(name: str) -> None:
    with pytest.raises(ConfigError, match="model name") as raised:
        ModelCatalog("sonnet", ("fine", name))
    assert len(str(raised.value).splitlines()) == 1


def test_names_of_other_providers_may_be_added() -> None:
    name = "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-sonnet-4-v1:0"
    assert ModelCatalog(name, (name,)).resolve("claude") == name


def test_the_listing_is_the_override_in_its_order_and_without_one_the_aliases() -> None:
    catalog = ModelCatalog("sonnet", ("zeta", "claude-opus", "alpha", "zeta"))
    assert catalog.listing() == ["zeta", "claude-opus", "alpha"]
    assert ModelCatalog("sonnet").listing() == ["claude-sonnet", "claude-opus", "claude-haiku", "claude-fable"]


def test_every_listed_name_is_served() -> None:
    for name in CATALOG.listing():
        assert CATALOG.resolve(name)


def test_the_list_of_models_is_one_of_the_schema_and_keeps_its_order() -> None:
    listing = model_list(["sonnet", "anthropic/claude-opus"], created=1_700_000_000)
    validate("ListModelsResponse", listing)
    assert [strict_openai_model(model).id for model in listing["data"]] == ["sonnet", "anthropic/claude-opus"]
    assert listing["data"][0] == model_object("sonnet", 1_700_000_000)
    openais = {"object": "model", "created": 1_700_000_000, "owned_by": "anthropic"}
    assert model_object("anthropic/claude-opus", 1_700_000_000) == {"id": "anthropic/claude-opus", **openais}
    for name in (*ModelCatalog("sonnet").listing(), "sonnet", "opus[1m]", "claude"):
        assert model_object(name, 1_700_000_000) == {
            "id": name,
            **openais,
            "context_length": 1_000_000,
            "max_output_tokens": 128_000,
            "input_modalities": ["text", "image", "file"],
            "output_modalities": ["text"],
        }
    validate("ListModelsResponse", model_list([], created=0))
