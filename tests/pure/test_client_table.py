"""What is declared of the clients is what their run is held to."""

import dataclasses

import pytest

from tests.clients.table import CASES, CLIENTS, EXAMPLES

PYTHON, AIDER = CLIENTS["openai-python-3"], CLIENTS["aider"]


def test_a_client_of_both_apis_goes_through_every_case_twice() -> None:
    names = [*CASES, *(f"responses_{case}" for case in CASES)]
    assert PYTHON.cases() == dict.fromkeys(names, True)
    assert PYTHON.complaints([*names, "models"]) == []


def test_a_case_that_was_not_run_fails_unless_it_is_declared_as_impossible() -> None:
    run = [case for case, can in AIDER.cases().items() if can]
    assert AIDER.complaints(run) == []
    assert AIDER.complaints(run[1:]) == [f"{run[0]} was not run, and is not declared as what it cannot do"]
    assert AIDER.complaints([*run, "tools"]) == ["tools was run, though it is declared as what it cannot do"]


@pytest.mark.parametrize("name", CLIENTS)
def test_nothing_is_declared_as_impossible_that_is_no_case(name: str) -> None:
    client = CLIENTS[name]
    for pattern, reason in client.cannot.items():
        alone = dataclasses.replace(client, cannot={pattern: reason})
        assert not all(alone.cases().values()), pattern


def test_each_example_that_needs_a_client_is_run_with_it() -> None:
    assert sorted(filter(None, (client.example for client in CLIENTS.values()))) == sorted(EXAMPLES.glob("with_*.py"))
