"""The stored responses: chains, bounds, expiry, callers, deletion, and the pages of their input items."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from claude_openai.errors import ApiError, BadRequest, NotFound
from claude_openai.protocol.openai.responses.input_items import input_item_list
from claude_openai.protocol.openai.responses.response_store import ENTRY_BYTES, MAX_EARLIER, ResponseStore
from claude_openai.protocol.openai.responses.stored_form import KeptInput, StoredForm

ME, OTHER = "me", "other"


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


def answered(name: str) -> dict[str, Any]:
    return {"id": f"msg_{name}", "type": "message", "role": "assistant", "content": []}


def keep(
    store: ResponseStore,
    name: str,
    previous: str | None = None,
    *,
    now: float = 0,
    caller: str = ME,
    status: str = "completed",
    text: str = "Hi",
) -> None:
    response = {"id": name, "status": status, "output": [answered(name)], "previous_response_id": previous}
    store.keep(response, KeptInput.of([said(text)]), caller, now)


def refusal(call: Callable[[], object]) -> ApiError:
    with pytest.raises(ApiError) as raised:
        call()
    return raised.value


def kept(store: ResponseStore, *names: str, now: float = 0) -> list[str]:
    """Those of the names that the store still has."""

    def has(name: str) -> bool:
        try:
            return bool(store.response(name, ME, now))
        except NotFound:
            return False

    return [name for name in names if has(name)]


def test_a_conversation_is_the_inputs_and_outputs_of_all_responses_in_their_order() -> None:
    store = ResponseStore()
    keep(store, "a", text="One")
    keep(store, "b", "a", text="Two")
    keep(store, "c", "a", text="Else")
    found = store.conversation("b", ME, 0)
    assert found.items == (said("One"), answered("a"), said("Two"), answered("b"))
    assert found.size > len(json.dumps(found.items))
    assert store.input_items("c", ME, 0) == (said("One"), answered("a"), said("Else"))
    assert json.loads(store.response("b", ME, 0))["output"] == [answered("b")]


def test_a_long_chain_takes_room_for_each_item_once() -> None:
    count, text = 100, "x" * 1000
    store = ResponseStore(max_bytes=count * (ENTRY_BYTES + 2000))
    for number in range(count):
        keep(store, str(number), str(number - 1) if number else None, text=text)
    assert len(store.conversation(str(count - 1), ME, 0).items) == 2 * count


@pytest.mark.parametrize("bounds", [{"max_responses": 2}, {"max_bytes": 2 * (ENTRY_BYTES + 2000)}])
def test_the_least_recently_used_are_dropped_beyond_the_bounds(bounds: dict[str, Any]) -> None:
    store = ResponseStore(**bounds)
    text = "x" * 1500
    keep(store, "a", text=text)
    keep(store, "b", text=text)
    store.renew("a", 0)
    keep(store, "c", text=text)
    assert kept(store, "a", "b", "c") == ["a", "c"]


def test_a_response_beyond_all_bounds_is_not_kept_and_displaces_no_other() -> None:
    store = ResponseStore(max_bytes=ENTRY_BYTES + 1000)
    keep(store, "a")
    keep(store, "b", text="x" * 2000)
    assert kept(store, "a", "b") == ["a"]


def test_a_response_is_dropped_a_time_after_its_last_use() -> None:
    store = ResponseStore(kept_s=10)
    keep(store, "a", now=0)
    keep(store, "b", "a", now=9)
    store.renew("b", 9)
    assert len(store.conversation("b", ME, 18.9).items) == 4
    assert kept(store, "a", "b", now=18.9) == ["a", "b"]
    assert refusal(lambda: store.conversation("b", ME, 19)).code == "previous_response_not_found"
    assert kept(store, "a", "b", now=19) == []


def test_what_has_expired_leaves_the_memory_with_the_next_response() -> None:
    store = ResponseStore(kept_s=10)
    keep(store, "a", now=0)
    keep(store, "b", now=10)
    assert kept(store, "a", now=0) == []  # also not at a time before


def test_a_response_is_found_by_its_caller_alone() -> None:
    store = ResponseStore()
    keep(store, "a")
    unknown = refusal(lambda: store.conversation("b", ME, 0))
    for call in (store.conversation, store.input_items, store.response, store.delete):
        error = refusal(lambda call=call: call("a", OTHER, 0))  # type: ignore[misc]
        assert (error.status, error.type) == (404, "invalid_request_error")
    assert refusal(lambda: store.conversation("a", OTHER, 0)).message == unknown.message.replace("'b'", "'a'")
    assert kept(store, "a") == ["a"]


def test_a_deleted_response_is_gone_for_those_that_continue_it_too() -> None:
    store = ResponseStore()
    for name, previous in (("a", None), ("b", "a"), ("c", "b")):
        keep(store, name, previous)
    assert store.delete("a", ME, 0) == ["msg_a"]
    assert refusal(lambda: store.delete("a", ME, 0)).code == "response_not_found"
    error = refusal(lambda: store.conversation("c", ME, 0))
    assert (error.status, error.code, error.param) == (404, "previous_response_not_found", "previous_response_id")
    assert "'a', which it continues, was deleted or dropped" in error.message
    assert kept(store, "b", "c") == ["b", "c"]
    store.renew("c", 0)


def test_deleted_responses_make_room() -> None:
    store = ResponseStore(max_bytes=2 * ENTRY_BYTES)
    for number in range(10):
        keep(store, str(number))
        store.delete(str(number), ME, 0)
    keep(store, "last")
    assert kept(store, "last") == ["last"]


def test_a_failed_response_is_kept_and_cannot_be_continued() -> None:
    store = ResponseStore()
    keep(store, "a", status="failed")
    keep(store, "b", status="incomplete")
    assert json.loads(store.response("a", ME, 0))["status"] == "failed"
    error = refusal(lambda: store.conversation("a", ME, 0))
    assert (error.status, error.param) == (400, "previous_response_id")
    assert store.conversation("b", ME, 0).items[-1] == answered("b")


def test_a_conversation_has_no_more_values_than_one_request() -> None:
    store = ResponseStore()
    many = {**said("Hi"), "junk": [0] * 200_000}
    for name, previous in (("a", None), ("b", "a")):
        ended: dict[str, Any] = {"status": "completed", "output": [], "previous_response_id": previous}
        store.keep({"id": name, **ended}, KeptInput.of([many]), ME, 0)
    assert len(store.conversation("a", ME, 0).items) == 1
    error = refusal(lambda: store.conversation("b", ME, 0))
    assert (error.status, error.param) == (400, "previous_response_id")


ITEMS = [{**said(str(number)), "id": f"msg_{number}"} for number in range(5)]


@pytest.mark.parametrize(
    ("query", "numbers", "has_more"),
    [
        ({}, "43210", False),
        ({"order": "asc"}, "01234", False),
        ({"order": "asc", "limit": "2"}, "01", True),
        ({"order": "asc", "limit": "2", "after": "msg_1"}, "23", True),
        ({"order": "asc", "limit": "2", "after": "msg_2"}, "34", False),
        ({"limit": "2", "after": "msg_3"}, "21", True),
        ({"after": "msg_0"}, "", False),
        ({"order": "asc", "limit": "2", "before": "msg_4"}, "23", True),
        ({"order": "asc", "before": "msg_2"}, "01", False),
        ({"order": "asc", "after": "msg_0", "before": "msg_3"}, "12", False),
        ({"order": "asc", "after": "msg_3", "before": "msg_1"}, "", False),
    ],
)
def test_input_items_are_listed_in_pages(query: dict[str, str], numbers: str, has_more: bool) -> None:
    page = input_item_list("resp_1", ITEMS, query)
    assert [item["id"] for item in page["data"]] == [f"msg_{number}" for number in numbers]
    ends = (f"msg_{numbers[0]}", f"msg_{numbers[-1]}") if numbers else (None, None)
    assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == ("list", *ends, has_more)


@pytest.mark.parametrize(
    "query",
    [
        *({"limit": limit} for limit in ("0", "101", "-1", "1.0", "", "x", "9" * 5000, "²")),
        *({"order": "up"}, {"after": "msg_9"}, {"before": ""}),
    ],
)
def test_an_invalid_page_is_refused_with_its_parameter(query: dict[str, str]) -> None:
    with pytest.raises(BadRequest) as raised:
        input_item_list("resp_1", ITEMS, query)
    assert raised.value.param == next(iter(query))


def test_input_items_have_ids_and_types_and_their_texts_are_parts() -> None:
    call = {"type": "function_call_output", "call_id": "c1", "output": "ok"}
    given = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}, call]
    page = input_item_list("resp_1", given, {"order": "asc"})
    assert page["data"] == [
        {
            "id": "msg_1_in0",
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_text", "text": "Hi"}],
        },
        {
            "id": "msg_1_in1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Yes", "annotations": [], "logprobs": []}],
        },
        {"id": "item_1_in2", "status": "completed", **call},
    ]


def test_restored_response_is_continued_like_a_kept_one() -> None:
    one, other = ResponseStore(), ResponseStore()
    keep(one, "a", text="One")
    keep(one, "b", "a", text="Two")
    for name in one.known_chain("b")[::-1]:
        form = one.form(name, "a server")
        assert form is not None
        assert form.owner == ""
        other.restore(StoredForm.decode(form.encode(), name), ME, 0)
    assert other.conversation("b", ME, 0) == one.conversation("b", ME, 0)
    assert other.response("a", ME, 0) == one.response("a", ME, 0)
    assert (one.form("none"), one.known_chain("none")) == (None, ["none"])


def test_stored_form_has_the_ids_of_the_nearest_earlier_responses() -> None:
    store = ResponseStore()
    for number in range(MAX_EARLIER + 5):
        keep(store, str(number), str(number - 1) if number else None)
    form = store.form(str(MAX_EARLIER + 4))
    assert form is not None
    assert form.earlier == tuple(str(number) for number in range(MAX_EARLIER + 3, 3, -1))


def test_cycle_of_responses_is_not_restored() -> None:
    store = ResponseStore()
    keep(store, "a", "b")
    keep(store, "b", "a")
    keep(store, "c", "c")
    assert kept(store, "a", "b", "c") == ["a"]


def test_a_response_that_has_ended_is_not_replaced_by_its_earlier_state() -> None:
    store = ResponseStore()
    keep(store, "a", status="in_progress")
    begun = store.form("a", "a server")
    keep(store, "a")
    assert begun is not None
    assert begun.owner == "a server"
    store.restore(begun, ME, 0)
    assert json.loads(store.response("a", ME, 0))["status"] == "completed"


def test_forget_needs_the_caller_and_clear_drops_all() -> None:
    store = ResponseStore(max_bytes=5 * (ENTRY_BYTES + 500))
    keep(store, "a")
    keep(store, "b", caller=OTHER)
    for name in ("a", "b", "none"):
        store.forget(name, OTHER)
    assert kept(store, "a") == ["a"]
    assert [store.clear(), store.clear()] == [1, 0]
    for name in "abc":
        keep(store, name)
    assert kept(store, "a", "b", "c") == ["a", "b", "c"]
