"""`Config` rejects an invalid value of any field when it is built."""

import math
from collections import OrderedDict
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.config import Config
from claude_openai.config.field_check import CHOICES, LEAST, MOST, check_field
from claude_openai.errors import ConfigError


class Hostile:
    """Has no repr."""

    def __repr__(self) -> NoReturn:
        raise TypeError


NEVER: Final = (
    Hostile(),
    object(),
    b"x",
    {"x"},
    1.5,
    math.nan,
    math.inf,
    1j,
    Config,
    (1,),
    (None,),
    {1: "x"},
    {"x": 1},
)
TEXTS: Final = ("", "x", "0", "yes", "a\0b")
# For each annotation of a field, values that are none of it.
WRONG: Final[dict[Any, tuple[object, ...]]] = {
    int: (*NEVER, *TEXTS, None, True, False, (), {}, Path("x"), 10**400, -(10**400), 10**5000),
    bool: (*NEVER, *TEXTS, None, 0, 1, (), {}, Path("x")),
    bool | None: (*NEVER, *TEXTS, 0, 1, (), {}, Path("x")),
    str: (*NEVER, "a\0b", None, True, 0, (), ("x",), {}, Path("x")),
    str | None: (*NEVER, "a\0b", True, 0, (), ("x",), {}, Path("x")),
    Path | None: (*NEVER, *TEXTS, True, 0, (), {}, Path("a\0b"), (Path("x"),)),
    float | None: (*(each for each in NEVER if each != 1.5), *TEXTS, True, False, 0, 0.0, -1, -0.5, (), {}, Path("x")),
    tuple[str, ...]: (*NEVER, *TEXTS, None, 0, ["x"], {}, Path("x"), ("x", 1), (Path("x"),), ("a\0b",), (10**5000,)),
    tuple[Path, ...]: (*NEVER, *TEXTS, None, 0, [Path("x")], {}, Path("x"), ("x",), (Path("a\0b"),)),
}
# Further values, of the right type.
WRONG_IN: Final[dict[str, tuple[object, ...]]] = {
    **{name: (least - 1, -(2**70), 2**63) for name, least in LEAST.items()},
    "port": (-1, 65536, 8000.0),
    "stop_at_utilization": (1.01, 90),
    "backend": ("", "SDK", "nonsense"),
    "confine": ("", "yes"),
    "log_format": ("", "ndjson", "JSON"),
    "log_level": ("", "nonsense", "DEBUG", "10"),
    "allowed_permission_modes": (("x",), ("plan", ""), ("Plan",)),
    "default_model": ("gpt-4o", "two words"),
    "models": (("two words",), ("",)),
    "host": ("", "0.0.0.0"),  # noqa: S104 - without a key
    "api_key": ("", " ", "two words"),
    "control_key": ("", " ", "two words"),
    "cors_origins": (("*",),),
    "extra_env": (*NEVER, *TEXTS, None, 0, (), [("A", "x")], {"": "x"}, {"A=B": "x"}, {"A": "a\0b"}, {"A": None}),
}
CASES: Final = [
    pytest.param(field.name, value, id=f"{field.name}-{number}")
    for field in fields(Config)
    for number, value in enumerate((*WRONG.get(field.type, ()), *WRONG_IN.get(field.name, ())))
]
SECRET: Final = {field.name for field in fields(Config) if not field.repr}


def config_with(name: str, value: object) -> Config:
    return Config(**dict[str, Any]({name: value}))


def test_every_field_has_wrong_values() -> None:
    assert {field.name for field in fields(Config)} == {param.values[0] for param in CASES}
    assert {field.name for field in fields(Config) if field.type is int} == LEAST.keys()
    assert MOST.keys() <= LEAST.keys()


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_wrong_value_of_any_field_is_refused_by_the_constructor(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        config_with(name, value)
    message = str(caught.value)
    assert name in message.replace("-", "_") or name.upper() in message
    assert len(message.splitlines()) == 1
    assert len(message) < 400


def test_a_default_would_pass_the_check_that_it_is_spared() -> None:
    for field in fields(Config):
        check_field(field, getattr(Config(), field.name))


@pytest.mark.parametrize("name", sorted(SECRET))
def test_a_refused_secret_is_not_in_the_message(name: str) -> None:
    for value in (b"a-secret", ("a-secret",), {"A": b"a-secret"}, "a-secret\0", {"a-secret=": "a-secret"}):
        with pytest.raises(ConfigError) as caught:
            config_with(name, value)
        assert "a-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("port", "0", "invalid port: '0'; expected int"),
        ("port", 70_000, "invalid port: 70000; expected at most 65535"),
        ("hold_status_ms", -1, "invalid hold_status_ms: -1; expected at least 0"),
        ("spares", math.nan, "invalid spares: nan; expected int"),
        ("stop_at_utilization", 90, "invalid stop_at_utilization: 90; expected more than 0 and at most 1"),
        ("max_cost_per_day", 0, "invalid max_cost_per_day: 0; expected more than 0"),
        ("log_level", "nonsense", "invalid log_level: 'nonsense'; expected one of trace, debug, info, warning, error"),
        ("log_file", "x.log", "invalid log_file: 'x.log'; expected Path | None"),
        ("allowed_hosts", "box", "invalid allowed_hosts: 'box'; expected tuple[str, ...]"),
        ("allowed_permission_modes", ("x",), "invalid allowed_permission_modes: ('x',); expected a tuple of some of "
         "acceptEdits, auto, bypassPermissions, default, plan"),
        ("extra_env", {"A": 1}, "invalid extra_env: a value of type dict; expected Mapping[str, str]"),
    ],
)  # fmt: skip
def test_the_message_names_field_value_and_what_is_expected(name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_with(name, value)
    assert str(caught.value) == message


def test_the_bounds_themselves_are_valid() -> None:
    for name, least in LEAST.items():
        for value in (least, MOST.get(name, 2**63 - 1)):
            assert getattr(config_with(name, value), name) == value
    for fraction in (0.01, 1, 1.0):
        assert Config(stop_at_utilization=fraction).stop_at_utilization == fraction
        assert Config(max_cost_per_day=fraction * 1e9).max_cost_per_day == fraction * 1e9
    for name, choices in CHOICES.items():
        config = Config(allow_bypass_permissions=True)
        for choice in choices:
            replace(config, **dict[str, Any]({name: (choice,) if name == "allowed_permission_modes" else choice}))
    assert Config(extra_env=OrderedDict(A="x")).extra_env["A"] == "x"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(Path, st.text()),
    lambda inner: st.tuples(inner) | st.lists(inner, max_size=2) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=4,
)


@given(st.sampled_from([field.name for field in fields(Config)]), anything)
def test_any_value_is_valid_or_a_config_error(name: str, value: object) -> None:
    try:
        config = config_with(name, value)
    except ConfigError:
        return
    assert getattr(config, name) is value
    assert config.effective_log_level in CHOICES["log_level"]
