"""Encrypted values are bound to their name and to the key."""

import re

import pytest

from claude_openai.state.cipher import Cipher

KEYED, PLAIN = Cipher("k" * 32), Cipher(None)


@pytest.mark.parametrize("cipher", [KEYED, PLAIN])
@pytest.mark.parametrize("value", [b"", b"\0\xff", b"a value" * 1000])
def test_value_is_the_same_after_encryption_and_decryption(cipher: Cipher, value: bytes) -> None:
    assert cipher.decrypt("name", cipher.encrypt("name", value)) == value


def test_encrypted_value_hides_the_value_and_differs_each_time() -> None:
    first, second = KEYED.encrypt("name", b"secret"), KEYED.encrypt("name", b"secret")
    assert b"secret" not in first
    assert first != second


def test_value_is_not_decrypted_under_another_name_with_another_key_or_after_a_change() -> None:
    stored = KEYED.encrypt("name", b"secret")
    assert KEYED.decrypt("other", stored) is None
    assert Cipher("l" * 32).decrypt("name", stored) is None
    assert PLAIN.decrypt("name", stored) is None
    for position in range(len(stored)):
        changed = bytearray(stored)
        changed[position] ^= 1
        assert KEYED.decrypt("name", bytes(changed)) is None
        assert KEYED.decrypt("name", stored[:position]) is None


def test_value_that_was_stored_without_a_key_is_not_accepted_with_one() -> None:
    assert KEYED.decrypt("name", PLAIN.encrypt("name", b"forged")) is None


def test_name_is_hidden_by_the_key_and_the_same_each_time() -> None:
    hidden = KEYED.hide("response:hash:resp_1")
    assert hidden == Cipher("k" * 32).hide("response:hash:resp_1")
    assert len({hidden, Cipher("l" * 32).hide("response:hash:resp_1"), KEYED.hide("response:hash:resp_2")}) == 3
    assert re.fullmatch("[0-9a-f]{64}", hidden)


def test_name_without_a_key_is_as_it_is() -> None:
    assert PLAIN.hide("response:hash:resp_1") == "response:hash:resp_1"
