"""`claude-openai key`: keys are added, listed and revoked in a file."""

import json
import time
from datetime import datetime
from pathlib import Path

import pytest

from claude_openai.commands import main
from claude_openai.keys.file import read_keys
from claude_openai.keys.key import Key, hash_of
from tests.named_keys import named_key, write_keys

DAY_S = 24 * 3600


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def key_command(path: Path, *argv: str) -> int:
    return main(["key", *argv], {"CLAUDE_OPENAI_KEYS_FILE": str(path)})


def only_key(path: Path) -> Key:
    (key,) = read_keys(path)[0]
    return key


def test_add_prints_only_the_key_and_keeps_only_its_hash(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert key_command(path, "add", "ann") == 0
    printed = capsys.readouterr()
    secret = printed.out.removesuffix("\n")
    assert secret.startswith("sk-")
    assert len(secret) == 46  # 256 bits in base64
    assert secret not in printed.err + path.read_text()
    assert f"--keys-file {path}" in printed.err
    key = only_key(path)
    assert (key.name, key.sha256, key.expires) == ("ann", hash_of(secret), None)


def test_add_takes_each_limit(path: Path) -> None:
    limits = ("--models", "claude-haiku*,sonnet", "--max-concurrency", "2", "--max-cost-per-day", "1.5")
    tools = ("--tool-modes", "readonly,safe", "--folders", "/srv/ann,work", "--web-search")
    assert key_command(path, "add", "ann", *limits, *tools, "--expires", "2127-01-31T00:00:00Z") == 0
    key = only_key(path)
    assert (key.models, key.max_concurrency, key.max_cost_per_day) == (("claude-haiku*", "sonnet"), 2, 1.5)
    assert (key.tool_modes, key.folders) == (("readonly", "safe"), ("/srv/ann", str(Path.cwd() / "work")))
    assert key.web_search
    assert key.expires == "2127-01-31T00:00:00Z"


@pytest.mark.parametrize(("given", "after_s"), [("90d", 90 * DAY_S), ("12h", DAY_S / 2)])
def test_expiry_may_be_a_duration(path: Path, given: str, after_s: float) -> None:
    before = time.time()
    key_command(path, "add", "ann", "--expires", given)
    expires = datetime.fromisoformat(only_key(path).expires or "").timestamp()
    assert before + after_s - 1 <= expires <= time.time() + after_s


def test_expiry_without_a_zone_is_local(path: Path) -> None:
    key_command(path, "add", "ann", "--expires", "2127-01-31")
    assert datetime.fromisoformat(only_key(path).expires or "") == datetime(2127, 1, 31).astimezone()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["ad", "ann"], "unknown action: 'ad'; did you mean add?"),
        (["add"], "key add: missing NAME"),
        (["list", "ann"], "key list: unexpected argument: 'ann'"),
        (["add", "a b"], "the name 'a b' is no name of a key"),
        (["add", "none"], "the name 'none' is reserved"),
        (["add", "ann", "--expires", "soon"], "--expires: 'soon' is no time"),
        (["add", "ann", "--expires", "2001-01-01"], "--expires: '2001-01-01' is in the past"),
        (["add", "ann", "--max-concurrency", "0"], "--max-concurrency: '0' is not a whole number"),
        (["add", "ann", "--models", ","], "--models: ',' is empty"),
        (["add", "ann", "--folders", ","], "--folders: ',' is empty"),
        (["add", "ann", "--tool-modes", "every"], "--tool-modes: 'every' contains 'every', which is not one of"),
        (["revoke", "ann", "--models", "sonnet"], "key revoke: --models is for key add"),
        (["add", "ann", "--json"], "key add: --json is for key list"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_written(
    path: Path, argv: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert key_command(path, *argv) == 2
    assert expected in capsys.readouterr().err
    assert not path.exists()


def test_a_second_key_of_a_name_is_refused(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_keys(path, named_key("ann"))
    assert key_command(path, "add", "ann") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "there is a key of 'ann' already" in printed.err
    assert only_key(path) == named_key("ann")


def test_revoke_removes_the_key_of_this_name_only(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_keys(path, named_key("ann"), named_key("bob"))
    assert key_command(path, "revoke", "ann") == 0
    assert only_key(path) == named_key("bob")
    assert key_command(path, "revoke", "ann") == 1
    assert "there is no key of 'ann'" in capsys.readouterr().err


def test_list_shows_the_limits_and_no_hash(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ann = named_key("ann", expires="2026-11-02T00:00:00Z", models=("claude-haiku*",), max_cost_per_day=2.0)
    write_keys(path, ann, named_key("bob"))
    assert key_command(path, "list") == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["NAME", "CREATED", "EXPIRES"]
    created = "2026-11-01T00:00:00Z"
    limits = ["2026-11-02T00:00:00Z", "(expired)", "any", "$2", "none", "no", "claude-haiku*"]
    assert first.split() == ["ann", created, *limits]
    assert second.split() == ["bob", created, "never", "any", "any", "none", "no", "all"]
    assert key_command(path, "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == ["ann", "bob"]
    assert not any("sha256" in each for each in listed)


def test_list_of_a_file_that_cannot_be_used_is_an_error(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert key_command(path, "list") == 2
    assert "does not exist" in capsys.readouterr().err
