"""A client's file gets our part and keeps all that its owner wrote; what cannot be done so is refused."""

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.commands.connect.config_files import read_config, replace_config
from claude_openai.commands.connect.merging import MergeRefused, merged

OWN = ("provider", "claude")
WANTED: dict[str, Any] = {"model": "claude/x", "provider": {"claude": {"url": "http://a", "models": ["x"]}}}
TABLE = '[provider.claude]\nurl = "http://a"\n'


def json_merged(old: str, wanted: dict[str, Any] | None = None) -> tuple[str, list[str]]:
    return merged("json", old, json.dumps(wanted or WANTED), OWN)


@pytest.mark.parametrize("form", ["json", "toml", "yaml"])
@pytest.mark.parametrize("old", ["", " \n"])
def test_an_empty_file_gets_our_text_as_it_is(form: str, old: str) -> None:
    assert merged(form, old, "ours", OWN) == ("ours", [])


def test_what_the_owner_has_stays_and_ours_comes_to_it() -> None:
    old = {"theme": "dark", "provider": {"other": {"url": "http://b"}}}
    text, kept = json_merged(json.dumps(old))
    assert json.loads(text) == {**WANTED, **old, "provider": {**WANTED["provider"], **old["provider"]}}  # type: ignore[dict-item]
    assert kept == []


def test_a_choice_of_the_owner_is_kept_and_told() -> None:
    text, kept = json_merged('{"model": "other/y"}')
    assert json.loads(text)["model"] == "other/y"
    assert kept == ["model"]


def test_inside_of_our_own_part_the_new_values_count() -> None:
    old = {"provider": {"claude": {"url": "http://old", "models": [], "mine": 1}}}
    text, kept = json_merged(json.dumps(old))
    assert json.loads(text)["provider"]["claude"] == {**WANTED["provider"]["claude"], "mine": 1}
    assert kept == []


def test_the_indent_and_the_last_line_break_stay() -> None:
    old = '{\n\t"theme": "é"\n}\n'
    text, _ = json_merged(old)
    assert text.startswith('{\n\t"theme": "é",\n\t"model"')
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    ("old", "reason"),
    [
        ('{// comment\n"a": 1}', "not plain JSON"),
        ('{"a": 1,}', "not plain JSON"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": 1.10}', "another way"),
        ('{"a": NaN}', "another way"),
        ("[1]", "no JSON object"),
        ('{"provider": "none"}', "provider is no object"),
        ("[" * 100_000, "not plain JSON"),
    ],
)
def test_json_that_would_not_survive_is_refused(old: str, reason: str) -> None:
    with pytest.raises(MergeRefused, match=reason):
        json_merged(old)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _VALUES))
def test_nothing_of_any_file_is_lost_and_a_second_time_changes_nothing(old: dict[str, Any]) -> None:
    old.pop("provider", None)
    text, kept = json_merged(json.dumps(old))
    assert {**json.loads(text), **old} == json.loads(text)
    assert json.loads(text)["provider"] == WANTED["provider"]
    assert json_merged(text) == (text, kept)
    text.encode()


def test_a_table_is_added_after_what_is_there() -> None:
    old = '# mine\nmodel = "y"\n\n[provider.other]\nurl = 1'
    text, kept = merged("toml", old, TABLE, OWN)
    assert (text, kept) == (f"{old}\n\n{TABLE}", [])
    assert tomllib.loads(text)["provider"] == {"other": {"url": 1}, "claude": {"url": "http://a"}}
    assert merged("toml", text, TABLE, OWN) == (text, [])


@pytest.mark.parametrize(
    ("old", "reason"),
    [
        ("a = ", "not valid TOML"),
        ('[provider.claude]\nurl = "http://b"\n', "with other values"),
        ("[provider.claude]\n", "with other values"),
        ("provider = {}\n", "cannot be added"),
        ("provider = 1\n", "cannot be added|no object"),
        ("[[provider]]\na = 1\n", "cannot be added|no object"),
    ],
)
def test_toml_that_cannot_take_the_table_is_refused(old: str, reason: str) -> None:
    with pytest.raises(MergeRefused, match=reason):
        merged("toml", old, TABLE, OWN)


def test_a_yaml_file_is_left_alone_unless_all_is_in_it() -> None:
    wanted = "a: 1\nb: 2\n"
    assert merged("yaml", f"# mine\n{wanted}", wanted, ()) == (f"# mine\n{wanted}", [])
    for old in ("c: 3\n", "a: 1\nb: 22\n", " a: 1\nb: 2\n", "a: 1\n"):
        with pytest.raises(MergeRefused):
            merged("yaml", old, wanted, ())


def test_a_replaced_file_keeps_its_mode_and_leaves_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("old")
    path.chmod(0o640)
    backup = replace_config(read_config(path), "new")
    assert backup is not None
    assert (path.read_text(), backup.read_text()) == ("new", "old")
    assert path.stat().st_mode == backup.stat().st_mode
    assert path.stat().st_mode & 0o777 == 0o640
    second = replace_config(read_config(path), "newer")
    assert second is not None
    assert second.read_text() == "new"
    assert backup.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == sorted({path, backup, second})


def test_a_new_file_needs_no_backup_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "settings"
    assert replace_config(read_config(path), "new") is None
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    for content in ("mine", None):  # then it leads nowhere
        if content is None:
            target.unlink()
        else:
            target.write_text(content)
            link.symlink_to(target)
        with pytest.raises(MergeRefused, match="symbolic link"):
            read_config(link)
    assert not target.exists()


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    fifo, large, binary, twin = (tmp_path / name for name in ("fifo", "large", "binary", "twin"))
    os.mkfifo(fifo)
    large.write_bytes(b" " * (1024 * 1024 + 1))
    binary.write_bytes(b"\xff")
    twin.hardlink_to(binary)
    for path in (fifo, large, tmp_path, binary, twin):
        with pytest.raises(MergeRefused):
            _ = read_config(path).text


def test_a_file_that_changes_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("old")
    read = read_config(path)
    path.write_text("somebody else's")
    with pytest.raises(MergeRefused, match="in this moment"):
        replace_config(read, "new")
    assert path.read_text() == "somebody else's"
    absent = read_config(tmp_path / "absent")
    absent.path.write_text("somebody else's")
    with pytest.raises(MergeRefused):
        replace_config(absent, "new")
    assert absent.path.read_text() == "somebody else's"
