"""The binding that the next new conversation is expected to have."""

from claude_openai.claude.sdk.bindings import Binding, ExpectedBinding
from tests.pure.claude.sdk.conversations import HELLO, asked


def binding(system: str, text: str = "Hi") -> Binding:
    return Binding.of(asked({"role": "system", "content": system}, {"role": "user", "content": text}))


def test_bindings_of_requests_with_other_words_are_equal_and_hold_no_words() -> None:
    one, other = binding("a", "one"), binding("a", "two")
    assert one == other
    assert len({one, other, binding("b")}) == 2
    assert one.request.prompt.text == ""
    assert Binding.of(asked(*HELLO)).request.turns == ()


def test_binding_is_expected_again_after_two_conversations_in_a_row() -> None:
    expected = ExpectedBinding()
    assert [expected.note(binding(system)) for system in "aab"] == [False, True, False]
    assert expected.note(binding("a"))


def test_binding_of_one_conversation_in_between_is_not_expected() -> None:
    expected = ExpectedBinding()
    assert [expected.note(binding(system)) for system in "ababa"] == [False] * 5
    assert [expected.note(binding(system)) for system in "abb"] == [True, False, True]
