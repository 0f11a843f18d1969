"""Which model names are served, and what each is called on Claude's command line."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from claude_openai.errors import ConfigError, ModelNotFound
from claude_openai.protocol.wire.model_records import MAX_MODELS, Limits, Model, is_safe_name, read_models
from claude_openai.protocol.wire.models import ModelCatalog
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
def test_unknown_model_is_a_404_that_names_the_list(asked: str) -> None:
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
    catalog = ModelCatalog("sonnet", ("sonnet", "anthropic/claude-opus"))
    listing = catalog.model_list(created=1_700_000_000)
    validate("ListModelsResponse", listing)
    assert [strict_openai_model(model).id for model in listing["data"]] == ["sonnet", "anthropic/claude-opus"]
    assert listing["data"][0] == catalog.model_object("sonnet", 1_700_000_000)
    openais = {"object": "model", "created": 1_700_000_000, "owned_by": "anthropic"}
    assert listing["data"][1] == {"id": "anthropic/claude-opus", **openais}
    for name in (*ModelCatalog("sonnet").listing(), "sonnet", "opus[1m]", "claude"):
        assert ModelCatalog("sonnet").model_object(name, 1_700_000_000) == {
            "id": name,
            **openais,
            "context_length": 1_000_000,
            "max_output_tokens": 128_000,
            "input_modalities": ["text", "image", "file"],
            "output_modalities": ["text"],
            "reasoning_efforts": ["low", "medium", "high", "xhigh", "max"],
            "fast_mode": "opus" in name or "fable" in name,
        }


def test_full_id_of_a_model_with_fast_mode_is_shown_with_it() -> None:
    assert ModelCatalog("sonnet").model_object("claude-opus-5-5", 0)["fast_mode"] is True


MYTHOS = Model("mythos", "claude-mythos-1", ("low", "high"))
BEDROCK = Model("us.anthropic.claude-opus-4-6-v1[1m]", "us.anthropic.claude-opus-4-6-v1[1m]")


@pytest.mark.parametrize(
    ("listed", "public", "asked", "claude"),
    [
        (MYTHOS, "claude-mythos", "claude-mythos", "mythos"),
        (MYTHOS, "claude-mythos", "mythos", "mythos"),
        (MYTHOS, "claude-mythos", "claude-mythos[1m]", "mythos[1m]"),
        (BEDROCK, BEDROCK.name, BEDROCK.name, BEDROCK.name),
        (Model("my-model", "my-model"), "my-model", "my-model", "my-model"),
        (Model("opus[1m]"), "claude-opus[1m]", "claude-opus[1m]", "opus[1m]"),
        (Model("claude", "claude"), "claude", "claude", "sonnet"),
    ],
)
def test_what_claude_code_lists_is_listed_behind_the_aliases_and_served(
    listed: Model, public: str, asked: str, claude: str
) -> None:
    catalog = ModelCatalog("sonnet").with_models([listed], "sonnet")
    assert catalog.listing() == [*ModelCatalog("sonnet").listing(), public]
    assert catalog.resolve(asked) == claude


def test_a_model_that_is_listed_because_a_client_named_it_is_none() -> None:
    start = ModelCatalog("sonnet")
    assert start.with_models([Model("claude-typo-9", "claude-typo-9")], "claude-typo-9") == start
    # On Bedrock `sonnet` is listed in this way, and means another model than elsewhere.
    on_bedrock = Model("sonnet", "us.anthropic.claude-sonnet-4-5-20250929-v1:0")
    catalog = start.with_models([on_bedrock], "sonnet")
    assert catalog.listing() == start.listing()
    assert "context_length" not in catalog.model_object("claude-sonnet", 0)


def test_an_override_is_listed_alone_also_when_claude_code_has_listed_more() -> None:
    catalog = ModelCatalog("sonnet", ("mine",)).with_models([MYTHOS], "sonnet")
    assert catalog.listing() == ["mine"]
    assert catalog.resolve("claude-mythos") == "mythos"


def test_limits_are_the_newest_of_the_name_or_of_the_id_it_stands_for() -> None:
    catalog = ModelCatalog("sonnet").with_models([MYTHOS], "sonnet")
    assert "context_length" not in catalog.model_object("claude-mythos", 0)
    assert catalog.model_object("claude-mythos", 0)["reasoning_efforts"] == ["low", "high"]
    for limits in (Limits(2_000_000, 256_000), Limits(200_000, 32_000)):
        catalog = catalog.with_limits({"claude-mythos-1": limits, "claude-haiku-4-5": limits, "best": limits})
        for name in ("claude-mythos", "mythos[1m]", "claude-haiku-4-5", "best"):
            told = catalog.model_object(name, 0)
            assert (told["context_length"], told["max_output_tokens"]) == (limits.context, limits.output)
    assert catalog.model_object("claude-opus", 0)["context_length"] == 1_000_000


names = st.one_of(st.text(), st.from_regex(r"(claude|-|\[1m\])*[a-z0-9.-]*(\[1m\])*", fullmatch=True))


@example([{"value": "[1m]", "resolvedModel": "claude-opus"}], "sonnet")
@given(st.lists(st.fixed_dictionaries({"value": names, "resolvedModel": names})), st.text())
def test_every_name_that_is_listed_is_served_and_safe(listed: list[dict[str, str]], started_with: str) -> None:
    catalog = ModelCatalog("sonnet").with_models(read_models(listed) or (), started_with)
    for name in (*catalog.listing(), *("claude-", "[1m]", "claude-[1m]")):
        try:
            resolved = catalog.resolve(name)
        except ModelNotFound:
            assert name not in catalog.listing()
        else:
            assert is_safe_name(resolved)
    assert len(catalog.model_list(0)["data"]) <= MAX_MODELS


def test_the_catalog_never_grows_beyond_its_bounds() -> None:
    catalog = ModelCatalog("sonnet")
    for number in range(5):
        catalog = catalog.with_models([Model(f"m-{number}-{each}") for each in range(MAX_MODELS)], "sonnet")
        catalog = catalog.with_limits({f"m-{number}-{each}": Limits(1, 1) for each in range(MAX_MODELS)})
    assert (len(catalog.models), len(catalog.limits)) == (MAX_MODELS, MAX_MODELS)
    assert catalog.listing()[:2] == ["claude-sonnet", "claude-opus"]


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("opus", "claude-opus-5-5"),
        ("opus[1m]", "claude-opus-5-5"),
        ("claude-opus-4-6", "claude-opus-4-6"),
        ("claude-opus-4-6[1m]", "claude-opus-4-6"),
        (BEDROCK.name, BEDROCK.resolved.removesuffix("[1m]")),
        ("house-model", "house-model"),
    ],
)
def test_full_id_of_a_resolved_name_has_no_context_length(name: str, full: str) -> None:
    assert CATALOG.with_models([BEDROCK], "sonnet").full_id(name) == full
