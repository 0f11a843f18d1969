"""Each client's configuration in files as users have them: merged, read by the client's parser, taken out again."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.commands.connect.client_texts import Target
from claude_openai.commands.connect.clients import CLIENTS
from claude_openai.commands.connect.config_files import read_config
from claude_openai.commands.connect.connecting import disconnect, write_client
from claude_openai.commands.connect.documents import MergeRefused
from claude_openai.commands.connect.receipts import receipt_path

TARGET: Final = Target("http://127.0.0.1:8000/v1", "claude-sonnet", needs_key=False)
MOVED: Final = Target("http://127.0.0.1:9000/v1", "claude-sonnet", needs_key=True)
WRITABLE: Final = [name for name, client in CLIENTS.items() if client.place]

JSON_FILES: Final = {
    "empty": "",
    "blank": "\n\n",
    "plain": '{\n  "theme": "dark"\n}\n',
    "empty object": "{}",
    "one line": '{"theme": "é", "list": [1, 2.50, 1e3]}',
    "one line with a trailing comma": '{"theme": "dark",}',
    "tabs": '{\n\t"theme": "dark",\n\t"nested": {\n\t\t"a": 1\n\t}\n}\n',
    "comments everywhere": (
        '// top\n{ // open\n  /* before */ "theme" /* k */ : /* v */ "dark" /* after */, // note\n'
        '  // last "words", { and }\n  "url": "http://x//y" // no comma\n  /* end */\n} // bottom\n'
    ),
    "trailing commas": '{\n  "a": [1, 2,],\n  "b": {"c": 1,}, // note\n}\n',
    "only comments": "// nothing yet\n/* at all */",
    "a comment in an empty object": "{ // mine\n}",
    "a neighbour": '{\n  "provider": {\n    "other": {} // mine\n  },\n  "language_models": {"openai": {"a": 1}}\n}\n',
    "empty parents": '{\n  "provider": {},\n  "language_models": {"openai_compatible": { /* none */ }}\n}',
    "escapes": '{"\\u00e9": "\\ud83d", "a\\"b": "\\\\"}\n',
}
TOML_FILES: Final = {
    "empty": "",
    "comments": "# mine\n\n[a] # here\nb = 'x' # literal\nc = 0x10\nd = 1_000\ne = 1979-05-27\n",
    "no final newline": "model = 'y'\n[z]\na = 1",
    "a neighbour": "[model_providers.other]\nname = 'x'\n\n[z]\na = [1,\n 2, # two\n]\n",
    "a parent": "[model_providers]\n[model_providers.x]\na = 1\n[[list]]\nb = 2\n",
    "dotted keys": "model_providers.x.a = 1\n[t]\nb = 2\n",
    "an inline table": "model_providers = {x = {a = 1}} # all\n[t]\nb = 2\n",
    "multi-line strings": 'a = """\n[model_providers.claude-openai]\n"""\n',
    "tabs": "\t[a]\n\tb\t=\t1\n",
}
YAML_MAPPINGS: Final = {
    "empty": "",
    "only comments": "# nothing yet",
    "a document start": "---\n# first\ntheme: dark\n...\n",
    "comments and quotes": "# top\ntheme: 'dark'   # note\nlist:   [a, \"b\"]\n\n# end\n",
    "no final newline": "theme: dark # note",
    "anchors": "base: &b {x: 1}\nother:\n  <<: *b\n  y: 2\nlast: *b\n",
    "a block scalar at the end": "text: |\n  one\n\n  two\n",
    "a kept block scalar": "text: |+\n  one\n\nnext: >-\n    folded\n    text\n",
    "flow": "{theme: dark, list: [1, 2]}\n",
    "tags and dates": "a: !secret x\nb: 2001-01-01\nc: 1.50\nd: ~\ne: yes\n1: int\n",
    "an empty last value": "a:\nb:",
}
YAML_LISTS: Final = {
    "continue": {
        "a list": "name: Mine\nversion: 1.0.0\nschema: v1\nmodels:\n  # first\n  - name: A   # note\n    model: x\n\n"
        "# about rules\nrules:\n- be kind\n",
        "no indent": "models:\n- name: A\n  model: x\n  roles: [chat]\nrules: []\n",
        "an empty flow list": "models: []  # none\nname: Mine\n",
        "no value": "models:   # none\nname: Mine\n",
        "deep dashes": "models:\n    -   name: A\n        model: x\nname: Mine\n",
    },
    "litellm": {
        "the same name elsewhere": "model_list:\n- model_name: claude-sonnet\n  litellm_params:\n"
        "    model: anthropic/x\n"
        "    api_key: os.environ/KEY\n\nlitellm_settings: &s\n  drop_params: true\ngeneral: *s\n",
    },
    "llm": {
        "a list": "# mine\n- model_id: a\n  model_name: b\n# end\n",
        "a flow list": "[{model_id: a, model_name: b}]",
    },
    "aider": {
        "other models": 'model: "gpt-4o" # mine\nopenai-api-key: sk-mine\nweak-model: o3\n'
        "# openai-api-base: x\ndark-mode: true\n",
    },
}


def files_of(name: str) -> dict[str, str]:
    form = CLIENTS[name].form
    if form == "json":
        files = JSON_FILES
    elif form == "toml":
        files = TOML_FILES
    else:
        files = {} if name == "llm" else YAML_MAPPINGS
        files = {"empty": "", "only comments": "# nothing", **files, **YAML_LISTS[name]}
    variants = {
        **{f"{case}, CRLF": text.replace("\n", "\r\n") for case, text in files.items() if "\n" in text},
        **{f"{case}, BOM": f"\ufeff{text}" for case, text in files.items()},
    }
    return files | variants


CASES: Final = [
    pytest.param(name, text, id=f"{name}: {case}") for name in WRITABLE for case, text in files_of(name).items()
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def write(name: str, path: Path, target: Target = TARGET) -> bool:
    return write_client(name, CLIENTS[name], target, path, None, dry=False).is_change


def remove(name: str, path: Path) -> dict[str, list[tuple[str, ...]]]:
    outcome = disconnect(name, CLIENTS[name], path, None, dry=False)
    assert outcome is not None
    return outcome.changes


def read(name: str, text: str) -> Any:
    """As its client reads it; comments of JSON are taken out by an expression, not by the code under test."""
    text = text.removeprefix("\ufeff")
    form = CLIENTS[name].form
    if form == "toml":
        return tomllib.loads(text)
    if form == "yaml":
        loader = type("Loader", (yaml.SafeLoader,), {})
        yaml.add_multi_constructor("!", lambda *_: "tagged", Loader=loader)
        return yaml.load(text, Loader=loader)  # noqa: S506 - a SafeLoader
    token = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
    bare = token.sub(lambda found: found[1] or " ", text)
    bare = re.sub(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])', lambda found: found[1] or "", bare)
    return json.loads(bare) if bare.strip() else None


def contains(there: Any, wanted: Any) -> bool:
    if wanted in (None, {}, []):
        return True
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(key in there and contains(there[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], dict):
        return isinstance(there, list) and all(any(contains(each, item) for each in there) for item in wanted)
    return bool(there == wanted)


def comments(text: str) -> list[str]:
    """What stands in comments; a string of JSON may look like one."""
    return [found for found in re.findall(r'"(?:\\.|[^"\\])*"|((?<!:)//[^\r\n]*|/\*.*?\*/|#[^\r\n]*)', text) if found]


@pytest.mark.parametrize(("name", "text"), CASES)
def test_a_written_file_is_what_its_client_needs_and_is_restored_byte_for_byte(
    name: str, text: str, tmp_path: Path, home: Path
) -> None:
    path = tmp_path / "config"
    path.write_bytes(text.encode())
    path.chmod(0o640)
    assert write(name, path)
    once = path.read_bytes().decode()
    wanted, before = read(name, CLIENTS[name].text(TARGET)), read(name, text)
    there = read(name, once)
    if name == "continue":  # the name and version of the user's configuration stay
        there = {**there, **{key: value for key, value in wanted.items() if key != "models" and key in (before or {})}}
    assert contains(there, wanted)
    there = read(name, once)
    if name != "aider":  # whose values are replaced
        assert contains(there, before)
    assert set(comments(text)) <= set(comments(once))
    if "\r\n" in text:
        assert "\n" not in once.replace("\r\n", "")
    assert not write(name, path)
    assert path.read_bytes().decode() == once
    assert write(name, path, MOVED)
    assert MOVED.url in path.read_text("utf-8")
    assert TARGET.url not in path.read_text("utf-8")
    remove(name, path)
    assert path.read_bytes() == text.encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert list((home / ".claude-openai" / "connected").iterdir()) == []


@pytest.mark.parametrize(("name", "text"), CASES)
def test_after_a_change_of_the_users_only_what_was_written_is_removed(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(text.encode())
    write(name, path)
    comment = "// later" if CLIENTS[name].form == "json" else "# later"
    ending = "\r\n" if "\r\n" in text else "\n"
    with path.open("ab") as file:
        if not path.read_bytes().endswith(b"\n"):
            file.write(ending.encode())
        file.write(f"{comment}{ending}".encode())
    changes = remove(name, path)
    assert changes["left"] == []
    after = path.read_bytes().decode()
    assert comment in after
    assert (read(name, after) or None) == (read(name, text) or None)
    assert set(comments(text)) <= set(comments(after))


@pytest.mark.parametrize("name", WRITABLE)
def test_a_file_that_was_made_is_removed(name: str, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "config"
    write(name, path)
    assert path.read_text() == CLIENTS[name].text(TARGET)
    record = receipt_path(name, path)
    assert (record.stat().st_mode & 0o777, record.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    remove(name, path)
    assert not path.exists()
    assert disconnect(name, CLIENTS[name], path, None, dry=False) is None


def test_remove_removes_the_empty_folders_that_write_made(tmp_path: Path) -> None:
    path = tmp_path / "made" / "twice" / "config"
    write("aider", path)
    path.unlink()
    path.parent.rmdir()
    write("aider", path)
    remove("aider", path)
    assert not (tmp_path / "made").exists()


def test_remove_keeps_folders_that_have_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "made" / "made too" / "config"
    write("aider", path)
    (tmp_path / "made" / "other").touch()
    remove("aider", path)
    assert [each.name for each in (tmp_path / "made").iterdir()] == ["other"]


def test_remove_keeps_folders_that_were_there_before_write(tmp_path: Path) -> None:
    path = tmp_path / "before" / "config"
    path.parent.mkdir()
    write("aider", path)
    remove("aider", path)
    assert list(path.parent.iterdir()) == []


def test_receipt_without_folders_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "config"
    write("aider", path)
    record = receipt_path("aider", path)
    record.write_text(
        json.dumps({key: value for key, value in json.loads(record.read_text()).items() if key != "folders"})
    )
    remove("aider", path)
    assert not path.exists()


@pytest.mark.parametrize("name", WRITABLE)
def test_a_dry_run_shows_the_change_and_makes_none(name: str, tmp_path: Path, home: Path) -> None:
    path = tmp_path / "config"
    outcome = write_client(name, CLIENTS[name], TARGET, path, None, dry=True)
    assert TARGET.url in outcome.diff()
    assert not path.exists()
    assert not home.exists()
    write(name, path)
    removal = disconnect(name, CLIENTS[name], path, None, dry=True)
    assert removal is not None
    assert "+++ /dev/null" in removal.diff()
    assert path.exists()


INVALID: Final = [
    ("opencode", '{\n  "a": 1,\n  "a": 2\n}', 3, 3),
    ("opencode", '{\n  "a": \n}', 3, 1),
    ("opencode", '{"a": 1} x', 1, 10),
    ("opencode", '{"a": "b\n"}', 1, 9),
    ("zed", "{ /* open", 1, 3),
    ("zed", '{"a" 1}', 1, 6),
    ("codex", "a = 1\nb = ", 2, 5),
    ("codex", "a = 1\na = 2\n", 2, 6),
    ("aider", "a: 1\nb: [\n", 3, 1),
    ("aider", "a: 1\n\tb: 2\n", 2, 1),
    ("continue", "a: 1\na: 2\n", 2, 1),
    ("litellm", "a: *none\n", 1, 4),
    ("llm", "- a\n---\n- b\n", 2, 1),
    ("llm", "- a\x00\n", 1, 4),
]


@pytest.mark.parametrize(("name", "text", "line", "column"), INVALID)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_an_invalid_file_is_left_as_it_is_and_the_place_is_named(
    name: str, text: str, line: int, column: int, ending: str, tmp_path: Path, home: Path
) -> None:
    path = tmp_path / "config"
    data = text.replace("\n", ending).encode()
    path.write_bytes(data)
    with pytest.raises(MergeRefused, match=rf"line {line}, column {column}\b"):
        write(name, path)
    assert path.read_bytes() == data
    assert not home.exists()


UNSUITABLE: Final = [
    ("opencode", "[1]", "does not contain a JSON object"),
    ("opencode", '{"provider": "none"}', "provider is not an object"),
    ("opencode", "[" * 100_000, "nested too deeply"),
    ("codex", "model_providers = 1\n", "model_providers is not an object"),
    ("aider", "- a\n", "not of the type that the client reads"),
    ("llm", "a: 1\n", "not of the type that the client reads"),
    ("llm", "text\n", "does not contain a YAML mapping or list"),
    ("continue", "models: &m []\nother: *m\n", "anchor &m"),
    ("continue", "m: &m []\nmodels: *m\n", "models is not an object or a list"),
    ("aider", "model: 1.5\n", "could not be restored"),
    ("aider", "model: &m x\nother: *m\n", "cannot be changed without"),
]


@pytest.mark.parametrize(("name", "text", "reason"), UNSUITABLE)
def test_a_file_that_cannot_take_it_is_left_as_it_is(name: str, text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(MergeRefused, match=reason):
        write(name, path)
    assert path.read_text() == text


def test_a_value_that_was_replaced_is_restored_and_one_that_the_user_changed_is_left(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("model: gpt-4o # mine\nweak-model: 'o3'\n")
    write("aider", path)
    assert path.read_text().startswith("model: openai/claude-sonnet # mine\nweak-model: 'openai/claude-haiku'\n")
    path.write_text(path.read_text().replace("openai/claude-haiku", "other"))
    assert remove("aider", path) == {
        "removed": [("openai-api-base",), ("openai-api-key",)],
        "restored": [("model",)],
        "left": [("weak-model",)],
    }
    assert path.read_text() == "model: gpt-4o # mine\nweak-model: 'other'\n"


def test_a_value_of_the_users_in_our_part_stays_when_ours_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "config"
    write("opencode", path)
    path.write_text(path.read_text().replace('"baseURL"', '"timeout": 5, "baseURL"'))
    assert remove("opencode", path)["left"] == [("provider", "claude", "options", "timeout")]
    assert json.loads(path.read_text()) == {"provider": {"claude": {"options": {"timeout": 5}}}}


def test_a_model_of_the_users_is_kept_outside_of_our_part(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text('{"model": "other/y"}')
    outcome = write_client("opencode", CLIENTS["opencode"], TARGET, path, None, dry=False)
    assert outcome.changes["left"] == [("model",)]
    assert json.loads(path.read_text())["model"] == "other/y"


def test_a_value_changed_between_two_writes_is_the_one_that_is_restored(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("model: first\n")
    write("aider", path)
    path.write_text(path.read_text().replace("model: openai/claude-sonnet", "model: second", 1))
    write("aider", path)
    remove("aider", path)
    assert path.read_text() == "model: second\n"


def test_a_receipt_that_cannot_be_written_keeps_the_file_from_being_changed(tmp_path: Path, home: Path) -> None:
    home.write_text("not a folder")
    path = tmp_path / "config"
    with pytest.raises(MergeRefused, match="the record"):
        write("aider", path)
    assert not path.exists()


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**20) | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    data=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), _VALUES, max_size=4),
    indent=st.sampled_from([None, 0, 2, "\t"]),
    flow=st.booleans(),
)
def test_any_data_of_the_users_survives_a_write_and_a_structural_removal(
    data: dict[str, Any], indent: Any, flow: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name in ("opencode", "aider"):
        text = json.dumps(data, indent=indent) if name == "opencode" else yaml.safe_dump(data, default_flow_style=flow)
        if name == "aider" and re.search(r"^\s*\? ", text, re.MULTILINE):
            continue  # explicit keys, which are refused: PyYAML writes an empty or a long key so
        path = folder / name
        path.write_text(text)
        write(name, path)
        there = read(name, path.read_text("utf-8"))
        assert {**there, **data} == there
        ending = "\n// later\n" if name == "opencode" else "\n# later\n"
        if name == "aider" and path.read_text("utf-8").rstrip().endswith("..."):
            continue
        path.write_text(path.read_text("utf-8") + ending)
        remove(name, path)
        assert (read(name, path.read_text("utf-8")) or {}) == data
        (folder / name).unlink()


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "dotfiles" / "aider.yml", tmp_path / "link"
    target.parent.mkdir()
    target.write_text("dark-mode: true\n")
    link.symlink_to(target)
    write("aider", link)
    assert link.is_symlink()
    assert "openai-api-base" in target.read_text()
    remove("aider", target)
    assert target.read_text() == "dark-mode: true\n"
    with pytest.raises(MergeRefused, match="outside of the project"):
        read_config(link, tmp_path / "home")
    target.unlink()
    with pytest.raises(MergeRefused, match=r"symbolic link to .* cannot be opened"):
        read_config(link)
