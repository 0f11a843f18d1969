"""The keys file: which content and which access it may have, and how it is written."""

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from claude_openai.errors import ConfigError, StartError
from claude_openai.keys import file as keys_file
from claude_openai.keys.file import edited, read_keys, stamp_of
from claude_openai.keys.key import Key
from tests.named_keys import named_key, write_keys

HASH = "0" * 64
ENTRY: dict[str, Any] = {"name": "ann", "sha256": HASH, "created": "2026-11-01T00:00:00Z"}
WHOLE = {
    **ENTRY,
    "expires": "2027-01-31T00:00:00+01:00",
    "models": ["claude-haiku*", "sonnet"],
    "tool_modes": ["readonly"],
    "folders": ["/srv/ann"],
    "max_concurrency": 2,
    "max_cost_per_day": 2.5,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "keys.json"


def put(path: Path, content: object) -> None:
    path.parent.mkdir()
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(0o600)


def test_all_members_of_a_key_are_kept_by_writing_and_reading(path: Path) -> None:
    put(path, {"keys": [WHOLE, {**ENTRY, "name": "bob", "sha256": "1" * 64}]})
    with edited(path) as keys:
        ann, bob = keys
    assert json.loads(path.read_text()) == {"keys": [WHOLE, {**ENTRY, "name": "bob", "sha256": "1" * 64}]}
    assert (ann.models, ann.folders, ann.max_concurrency) == (("claude-haiku*", "sonnet"), ("/srv/ann",), 2)
    assert (bob.models, bob.expires, bob.max_cost_per_day) == ((), None, None)
    assert read_keys(path)[0] == (ann, bob)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({**ENTRY, "name": "a b"}, "keys[0] has the name 'a b'; expected up to 64 letters"),
        ({**ENTRY, "name": "default"}, "has the name 'default'"),
        ({**ENTRY, "sha256": "abc"}, "has the sha256 'abc'; expected 64 hex digits"),
        ({**ENTRY, "expires": "2027-01-31"}, "has the expires '2027-01-31'; expected a time in ISO 8601 with its zone"),
        ({**ENTRY, "expires": 5}, "has the expires 5"),
        ({**ENTRY, "models": []}, "has the models []; expected a list of names or patterns, not empty"),
        ({**ENTRY, "models": "sonnet"}, "has the models 'sonnet'"),
        ({**ENTRY, "tool_modes": ["every"]}, "has the tool_modes ['every']; expected a list of readonly, safe, all"),
        ({**ENTRY, "folders": ["relative"]}, "has the folders ['relative']; expected a list of absolute paths"),
        ({**ENTRY, "max_concurrency": 0}, "has the max_concurrency 0"),
        ({**ENTRY, "max_concurrency": True}, "has the max_concurrency True"),
        ({**ENTRY, "max_cost_per_day": -1}, "has the max_cost_per_day -1"),
        ({**ENTRY, "max_concurency": 1}, "has the unknown member 'max_concurency'"),
        ({"name": "ann", "sha256": HASH}, "has the created None"),
        ("ann", "keys[0] 'ann' is not an object"),
    ],
)
def test_an_invalid_key_is_refused_with_the_member_and_what_is_expected(
    path: Path, entry: object, expected: str
) -> None:
    put(path, {"keys": [entry]})
    with pytest.raises(ConfigError) as caught:
        read_keys(path)
    assert expected in caught.value.problem


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"keys": {}}', '{"keys": [], "x": 1}', "[" * 100_000])
def test_content_that_is_no_list_of_keys_is_refused(path: Path, content: str) -> None:
    put(path, content)
    with pytest.raises(ConfigError, match="cannot be used"):
        read_keys(path)


def test_two_keys_of_one_name_or_with_one_hash_are_refused(path: Path) -> None:
    put(path, {"keys": [ENTRY, {**ENTRY, "sha256": "1" * 64}]})
    with pytest.raises(ConfigError, match="two keys have the same name"):
        read_keys(path)
    path.write_text(json.dumps({"keys": [ENTRY, {**ENTRY, "name": "bob"}]}))
    with pytest.raises(ConfigError, match="two keys have the same sha256"):
        read_keys(path)


def test_a_file_that_others_may_open_is_refused(path: Path) -> None:
    write_keys(path, named_key("ann"))
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"others may open it \(mode 0640\); expected mode 0600"):
        read_keys(path)


def test_a_folder_a_missing_file_and_a_loop_of_links_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist") as caught:
        read_keys(path)
    assert "key add NAME" in caught.value.hint
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for other in (loop, tmp_path):
        with pytest.raises(ConfigError, match="cannot be used"):
            read_keys(other)
    with pytest.raises(ConfigError, match="cannot be used"), edited(loop):
        raise AssertionError


def test_file_of_root_is_accepted_with_its_group_as_only_reader(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_keys(path, named_key("ann"))
    found = list(path.stat())

    def owned(mode: int, uid: int) -> os.stat_result:
        return os.stat_result([0o100000 | mode, *found[1:4], uid, *found[5:]])

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for mode, uid, problem in (
        (0o440, 0, None),
        (0o444, 0, r"mode 0444\); expected mode 0640"),
        (0o660, 0, r"mode 0660\); expected mode 0640"),
        (0o440, 1000, r"mode 0440\); expected mode 0600"),
        (0o400, 1001, r"belongs to another user \(uid 1001\)"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(os, "fstat", Mock(return_value=owned(mode, uid)))
            if problem is None:
                assert read_keys(path)[0] == (named_key("ann"),)
                continue
            with pytest.raises(ConfigError, match=problem):
                read_keys(path)


def test_link_is_followed_and_not_replaced(path: Path, tmp_path: Path) -> None:
    write_keys(path, named_key("ann"))
    link = tmp_path / "link"
    link.symlink_to(path)
    with edited(link) as keys:
        keys.append(named_key("bob"))
    assert read_keys(link)[0] == read_keys(path)[0] == (named_key("ann"), named_key("bob"))
    assert link.is_symlink()


def test_a_link_to_another_folder_changes_the_stamp(tmp_path: Path) -> None:
    # Kubernetes replaces the folder of a secret by another link.
    for name in ("old", "new"):
        write_keys(tmp_path / name / "keys.json", named_key(name))
    data, path = tmp_path / "..data", tmp_path / "keys.json"
    data.symlink_to("old")
    path.symlink_to("..data/keys.json")
    before = stamp_of(path)
    data.unlink()
    data.symlink_to("new")
    assert stamp_of(path) != before
    assert read_keys(path)[0] == (named_key("new"),)


def test_a_written_file_is_for_its_user_only_and_nothing_else_is_left(path: Path) -> None:
    mask = os.umask(0)
    try:
        write_keys(path, named_key("ann"))
        write_keys(path, named_key("bob"))
    finally:
        os.umask(mask)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert list(path.parent.iterdir()) == [path]


def test_each_change_of_the_file_changes_its_stamp(path: Path) -> None:
    write_keys(path, named_key("ann"))
    stamps = [stamp_of(path)]
    write_keys(path, named_key("bob"))  # of the same size
    stamps.append(stamp_of(path))
    path.chmod(0o640)
    stamps.append(stamp_of(path))
    path.unlink()
    stamps.append(stamp_of(path))
    assert len(set(stamps)) == 4
    assert stamps[-1] is None


def test_a_block_that_fails_changes_nothing(path: Path) -> None:
    write_keys(path, named_key("ann"))
    with suppress(ZeroDivisionError), edited(path) as keys:
        keys.clear()
        raise ZeroDivisionError
    assert read_keys(path)[0] == (named_key("ann"),)


def test_two_writers_at_once_lose_no_key(path: Path) -> None:
    names = [f"key-{number}" for number in range(20)]
    start = threading.Barrier(len(names))

    def add(key: Key) -> None:
        start.wait(30)
        with edited(path) as keys:
            keys.append(key)

    threads = [threading.Thread(target=add, args=[named_key(name)]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(key.name for key in read_keys(path)[0]) == sorted(names)


def test_a_writer_does_not_wait_for_ever_for_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_file, "LOCKED_S", 0.0)
    with edited(path), pytest.raises(StartError, match="another process writes"), edited(path):
        raise AssertionError


def test_a_folder_that_cannot_be_written_is_an_error_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StartError, match=r"cannot write the keys file .*file/keys\.json"),
        edited(tmp_path / "file" / "keys.json"),
    ):
        raise AssertionError
