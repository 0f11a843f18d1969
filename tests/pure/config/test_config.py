"""Every setting from every source, and the error for an invalid one."""

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.config import SETTINGS, Config, config_from, ignored_variables, is_loopback
from claude_openai.config.setting import Setting
from claude_openai.config.values import KEY_FILE_BYTES
from claude_openai.errors import ConfigError


class Row(NamedTuple):
    """Two good texts with their values, and texts that are refused."""

    first: tuple[str, Any]
    second: tuple[str, Any]
    bad: tuple[str, ...] = ()


# Where a wrong value can only be found out later (a path, a name), `bad` is empty.
ROWS = {
    "host": Row((" 127.0.0.2 ", "127.0.0.2"), ("localhost", "localhost"), ("", " ", "0.0.0.0", "box.example")),  # noqa: S104
    "port": Row(("0", 0), ("65535", 65535), ("-1", "65536", "", "80.0", "http", "9" * 5000)),
    "api_key": Row(("a-key", "a-key"), ("sk/+=.~", "sk/+=.~"), ("", " ", "two words", "schl\u00fcssel", "tab\t")),
    "api_key_file": Row(
        ("first.key", "first"),
        ("second.key", "sec/+=.~ond"),
        ("", " ", "none.key", "folder.key", "empty.key", "line.key", "words.key", "latin.key", "big.key", "~nobody/x"),
    ),
    "backend": Row(("cli", "cli"), ("SDK", "sdk"), ("", "api", "sdk ")),
    "default_model": Row(("opus", "opus"), ("claude-sonnet-4-5", "claude-sonnet-4-5"), ("", " ", "gpt-4o", "-p")),
    "models": Row(("a/b, c ,", ("a/b", "c")), ("x", ("x",)), ("-x", "two words", "a\u00e9")),
    "claude_command": Row(("claude", "claude"), ("/opt/my claude", "/opt/my claude"), ("", "~nobody-of-this-name/x")),
    "pass_env": Row(("A, B_1 ,", ("A", "B_1")), ("x", ("x",))),
    "max_concurrency": Row(("1", 1), ("64", 64), ("0", "-1", "1.5", "", "many")),
    "max_queue_size": Row(("0", 0), ("7", 7), ("-1", "", "x")),
    "max_background": Row(("0", 0), ("7", 7), ("-1", "", "x")),
    "process_timeout_ms": Row(("1", 1), ("600000", 600_000), ("0", "", "2m")),
    "turn_timeout_ms": Row(("0", 0), ("600000", 600_000), ("-1", "", "2m")),
    "drain_timeout_ms": Row(("0", 0), ("5", 5), ("-1", "")),
    "listen": Row(("127.0.0.1:80, unix:/s", ("127.0.0.1:80", "unix:/s")), ("[::1]:0", ("[::1]:0",)),
                  ("", ",", "80", "a:b", ":80", "::1:80", "[::1]", "localhost:65536", "a.b:80",
                   "unix:", "unix:/a/", "unix:~nobody-of-this-name/x")),
    "unix_mode": Row(("0660", "0660"), ("600", "600"), ("", "8", "0x180", "1777", "rw")),
    "unix_group": Row(("haproxy", "haproxy"), ("1", "1"), ("", " ")),
    "trusted_proxies": Row(("unix, 10.0.0.0/8", ("unix", "10.0.0.0/8")), ("::1", ("::1",)), ("", "a", "10.0.0.1/8")),
    "replica": Row(("a-1", "a-1"), ("b.c", "b.c"), (" ", "a b", "\u00e9", "a\n")),
    "lame_duck_ms": Row(("0", 0), ("5", 5), ("-1", "")),
    "max_idle_sessions": Row(("0", 0), ("9", 9), ("-1", "")),
    "session_ttl_ms": Row(("1", 1), ("600000", 600_000), ("0", "")),
    "tool_result_ttl_ms": Row(("1", 1), ("600000", 600_000), ("0", "")),
    "spares": Row(("0", 0), ("2", 2), ("-1", "")),
    "max_request_bytes": Row(("1", 1), ("1000000", 1_000_000), ("0", "1MB", "")),
    "allowed_hosts": Row(("a,b", ("a", "b")), ("c.example", ("c.example",))),
    "cors_origins": Row(("http://a, http://b", ("http://a", "http://b")), ("null", ("null",)), ("*", "http://a,*")),
    "allowed_working_directory_prefixes": Row(("/a, /b c", (Path("/a"), Path("/b c"))), ("/x", (Path("/x"),)),
                                              ("", " ")),
    "allowed_permission_modes": Row(("plan", ("plan",)), ("auto, default", ("auto", "default")),
                                    ("yolo", "plan,Auto", "bypassPermissions")),
    "allow_bypass_permissions": Row(("1", True), ("no", False), ("", "2")),
    "confine": Row(("require", "require"), ("OFF", "off"), ("", "yes", "auto ")),
    "show_tool_use": Row(("0", False), ("yes", True), ("", "2")),
    "web_search": Row(("yes", True), ("0", False), ("", "2")),
    "store": Row(("no", False), ("1", True), ("", "2")),
    "responses_file": Row(("/var/r.db", Path("/var/r.db")), ("/var/r", Path("/var/r")),
                          ("", "~nobody-of-this-name/x")),
    "responses_kept_hours": Row(("24", 24), ("1", 1), ("0", "-1", "", "1.5")),
    "state_url": Row(
        ("redis://u@h:1/2", "redis://u@h:1/2"),
        ("unix:///a/b?db=1", "unix:///a/b?db=1"),
        ("", "h:1", "http://h", "redis://", "redis://h/x", "redis://h:p", "redis://h?db=1", "unix://h", "unix:///a?d=1",
         "redis://:hidden@h", "redis://u:hidden@h:1"),
    ),
    "state_password_file": Row(("first.key", "first"), ("second.key", "sec/+=.~ond"), ("", "none.key", "words.key")),
    "state_key_file": Row(("32.key", "3" * 32), ("33.key", "hidden" * 8), ("", "none.key", "first.key", "latin.key")),
    "demo": Row(("1", True), ("no", False), ("", "2", "maybe")),
    "log": Row(("off", False), ("TRUE", True), ("", "2")),
    "log_format": Row(("text", "text"), ("JSON", "json"), ("", "ndjson")),
    "log_level": Row(("trace", "trace"), ("ERROR", "error"), ("", "fatal", "10")),
    "log_file": Row(("/var/x.log", Path("/var/x.log")), ("y.log", Path("y.log")), ("", " ", "~nobody-of-this-name/x")),
    "debug": Row(("yes", True), ("off", False), ("",)),
    "trace": Row(("on", True), ("0", False), ("", "2")),
    "trace_file": Row(("/var/t.log", Path("/var/t.log")), ("t", Path("t")), ("", " ", "~nobody-of-this-name/x")),
    "background": Row(("1", True), ("no", False), ("", "2")),
    "output_dir": Row(("/var/runs", Path("/var/runs")), ("none", None), ("", " ", "~nobody-of-this-name/x")),
    "usage_file": Row(("/var/u.db", Path("/var/u.db")), ("none", None), ("", " ", "~nobody-of-this-name/x")),
    "max_cost_per_day": Row(("5", 5.0), ("0.25", 0.25), ("0", "-1", "", "inf", "nan", "many")),
    "stop_at_utilization": Row(("0.9", 0.9), ("1", 1.0), ("0", "1.01", "90", "", "nan")),
    "keys_file": Row(("/etc/keys.json", Path("/etc/keys.json")), ("/var/k", Path("/var/k")),
                     ("", "~nobody-of-this-name/x")),
    "record": Row(("/var/c.jsonl", Path("/var/c.jsonl")), ("/var/d", Path("/var/d")), ("", "~nobody-of-this-name/x")),
    "record_times": Row(("1", True), ("no", False), ("", "2")),
    "otel": Row(("1", True), ("no", False), ("", "2")),
}  # fmt: skip

KEY_FILES = {
    "first.key": b"first\n",
    "second.key": b"sec/+=.~ond",
    "32.key": b"3" * 32 + b"\n",
    "33.key": b"hidden" * 8,
    "empty.key": b"",
    "line.key": b"\n",
    "words.key": b"hidden words\n",
    "latin.key": b"hidden-\xfc",
    "big.key": b"hidden" * KEY_FILE_BYTES,
}

all_settings = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
with_value = [setting for setting in SETTINGS if setting.flag and setting.metavar]
switches = [setting for setting in SETTINGS if not setting.metavar]


@pytest.fixture(scope="module", autouse=True)
def _folder_of_key_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "folder.key").mkdir()
    for name, content in KEY_FILES.items():
        (folder / name).write_bytes(content)
    with chdir(folder):
        yield


def test_the_table_has_every_setting_and_no_name_twice() -> None:
    assert sorted(setting.name for setting in SETTINGS) == sorted(ROWS)
    names = [name for setting in SETTINGS for name in (*setting.variables, setting.flag) if name]
    assert len(set(names)) == len(names)


# What the command alone has: a server in a test must not write into the home folder, or to standard output.
HOME = Path.home() / ".claude-openai"
COMMAND = Config(log=True, output_dir=HOME / "output", usage_file=HOME / "usage.db")


def test_config_without_settings_is_the_default() -> None:
    assert (Config().output_dir, Config().is_logged) == (None, False)
    assert config_from([], {}) == COMMAND
    assert config_from([], {"UNRELATED": "1", "CLAUDE_OPENAI_NO_SUCH": "1"}) == COMMAND


def test_a_user_without_a_home_folder_can_start_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    assert config_from([], {}) == Config(log=True)


def test_the_folder_of_runs_is_the_same_from_everywhere() -> None:
    assert config_from(["--output-dir", "runs"], {}).output_dir == Path.cwd() / "runs"
    assert config_from(["--output-dir", "NONE"], {}).output_dir is None


def test_relative_cassette_is_in_the_current_folder() -> None:
    assert config_from(["--record", "tests/c.jsonl"], {}).record == Path.cwd() / "tests" / "c.jsonl"


@all_settings
def test_each_of_its_variables_sets_it_and_the_first_one_wins(setting: Setting) -> None:
    row = ROWS[setting.name]
    for name in setting.variables:
        assert getattr(config_from([], {name: row.first[0]}), setting.field) == row.first[1]
    environ = dict.fromkeys(setting.variables, row.second[0]) | {setting.variables[0]: row.first[0]}
    assert getattr(config_from([], environ), setting.field) == row.first[1]


@all_settings
def test_a_variable_that_is_empty_is_not_set(setting: Setting) -> None:
    assert config_from([], dict.fromkeys(setting.variables, "")) == COMMAND


@pytest.mark.parametrize("setting", with_value, ids=lambda setting: setting.name)
def test_its_flag_wins_over_its_variables(setting: Setting) -> None:
    row = ROWS[setting.name]
    environ = dict.fromkeys(setting.variables, row.first[0])
    for argv in ([setting.flag, row.second[0]], [f"{setting.flag}={row.second[0]}"]):
        assert getattr(config_from(argv, environ), setting.field) == row.second[1]


@pytest.mark.parametrize("setting", switches, ids=lambda setting: setting.name)
def test_a_switch_is_turned_on_and_off_by_its_flags(setting: Setting) -> None:
    off = "--no-" + setting.flag.removeprefix("--")
    for variable in ("1", "0"):
        environ = dict.fromkeys(setting.variables, variable)
        assert getattr(config_from([setting.flag], environ), setting.field) is True
        assert getattr(config_from([off], environ), setting.field) is False
        assert getattr(config_from([], environ), setting.field) is (variable == "1")


@pytest.mark.parametrize("setting", switches, ids=lambda setting: setting.name)
@pytest.mark.parametrize(("value", "is_on"), [("true", True), ("YES", True), ("false", False), ("0", False)])
def test_a_switch_takes_a_value_as_its_variable_does(setting: Setting, value: str, is_on: bool) -> None:
    for argv in ([setting.flag, value], [f"{setting.flag}={value}"], [setting.flag, value, "--port", "1"]):
        assert getattr(config_from(argv, {}), setting.field) is is_on


# From the README of the Node tool of the same name.
@pytest.mark.parametrize(
    "argv", ["--debug --log true --log-level debug --log-file x.log", "--trace true --trace-file x", "--log=false"]
)
def test_the_commands_of_the_original_tool_are_understood(argv: str) -> None:
    assert config_from(argv.split(), {}).log is (argv != "--log=false")


FOREIGN = [
    ("DEBUG", "express:*", "--debug"),
    ("DEBUG", "*", "--debug"),
    ("DEBUG", "7", "--debug"),
    ("CLAUDE_OPENAI_PORT", "tcp://10.0.0.1:8000", "--port"),
    ("PORT", "tcp://10.0.0.1:8000", "--port"),
]


@pytest.mark.parametrize(("name", "value", "flag"), FOREIGN)
def test_a_value_for_another_program_is_ignored_with_a_hint(name: str, value: str, flag: str) -> None:
    assert config_from([], {name: value}) == COMMAND
    (ignored,) = ignored_variables({name: value})
    assert ignored == (f"{name}={value!r} is ignored: it was not set for this program", f"use {flag}")


def test_a_variable_behind_one_for_another_program_counts() -> None:
    environ = {"CLAUDE_OPENAI_PORT": "tcp://10.0.0.1:8000", "PORT": "81", "DEBUG": "app", "CLAUDE_OPENAI_DEBUG": "yes"}
    config = config_from([], environ)
    assert (config.port, config.debug) == (81, True)


@pytest.mark.parametrize(("argv", "environ"), [(["--debug", "7"], {}), ([], {"CLAUDE_OPENAI_DEBUG": "express:*"})])
def test_a_bad_value_under_a_name_of_our_own_is_refused(argv: list[str], environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="neither yes"):
        config_from(argv, environ)


def test_variables_meant_for_this_program_are_not_reported() -> None:
    assert ignored_variables({}) == []
    assert ignored_variables({"DEBUG": "yes", "PORT": "80", "CLAUDE_OPENAI_DEBUG": "nonsense"}) == []


@pytest.mark.parametrize(("setting", "bad"), [(s, bad) for s in with_value for bad in ROWS[s.name].bad])
def test_invalid_flag_gives_one_line_with_flag_and_variables(setting: Setting, bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from([f"{setting.flag}={bad}"], {})
    assert_tells(caught.value, setting, bad)


@pytest.mark.parametrize(("setting", "bad"), [(s, bad) for s in SETTINGS for bad in ROWS[s.name].bad if bad])
def test_invalid_variable_gives_one_line_with_flag_and_variables(setting: Setting, bad: str) -> None:
    for name in setting.variables:
        with pytest.raises(ConfigError) as caught:
            config_from([], {name: bad})
        assert_tells(caught.value, setting, bad)


def assert_tells(error: ConfigError, setting: Setting, bad: str) -> None:
    message = str(error)
    assert message.splitlines() == [message]
    for name in (setting.flag, *setting.variables):
        assert name in message
    assert setting.name != "api_key" or bad.strip() == "" or bad not in message
    assert "hidden" not in message


def test_invalid_value_is_reported_with_source_and_expectation() -> None:
    with pytest.raises(ConfigError, match=r"'70000' \(from PORT\) is not a whole number from 0 to 65535"):
        config_from([], {"PORT": "70000"})
    with pytest.raises(ConfigError, match=r"'loud' \(from --log-level\) is not one of trace, debug, info"):
        config_from(["--log-level", "loud"], {})


@pytest.mark.parametrize(
    "argv", [["--nope"], ["--no\nsense"], ["word"], ["--port"], ["--process", "3"], ["--no-port"], ["--no-demo=1"]]
)
def test_invalid_command_line_gives_one_line(argv: list[str]) -> None:
    with pytest.raises(ConfigError, match="--help") as caught:
        config_from(argv, {})
    assert len(str(caught.value).splitlines()) == 1


def test_help_all_shows_every_flag_variable_and_default_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        config_from(["--help-all"], {})
    assert not caught.value.code
    shown = " ".join(capsys.readouterr().out.split())
    for setting in SETTINGS:
        names = [setting.flag] if setting.flag else []
        assert all(name in shown for name in (*names, *setting.variables))
        assert f"(default: {setting.shown_default or 'none'}; {setting.variables[0]}" in shown
        assert f" {setting.group}: " in shown


def test_short_help_shows_common_flags_only(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        config_from(["--help"], {})
    shown = capsys.readouterr().out
    listed = {setting.flag for setting in SETTINGS if setting.flag and f"\n  {setting.flag} " in shown}
    assert listed == {setting.flag for setting in SETTINGS if setting.is_common}


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["--prot", "80"], "unknown flag: '--prot'; did you mean --port?"),
        (["--prot=80"], "unknown flag: '--prot'; did you mean --port?"),
        (["--no-lgo"], "did you mean --no-log?"),
        (["--log-level", "debgu"], "; did you mean debug?"),
        (["--allowed-permission-modes", "acceptedits"], "; did you mean acceptEdits?"),
        (["--backend", "sdkk"], "; did you mean sdk?"),
    ],
)
def test_mistyped_flag_or_value_gets_a_suggestion(argv: list[str], hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from(argv, {})
    assert hint in str(caught.value)


def test_word_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(ConfigError) as caught:
        config_from(["--xyzzy"], {})
    assert "did you mean" not in str(caught.value)


def test_a_public_address_needs_a_key() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "box.example"):  # noqa: S104
        with pytest.raises(ConfigError, match="--api-key"):
            Config(host=host)
        assert Config(host=host, api_key="key").host == host


@pytest.mark.parametrize(("content", "key"), [(b"a-key", "a-key"), (b"a-key\n", "a-key"), (b"a-key\r\n", "a-key")])
def test_the_key_of_a_file_is_its_content_without_the_newline_at_its_end(
    content: bytes, key: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_bytes(content)
    config = config_from(["--host", "0.0.0.0", "--api-key-file", str(tmp_path / "key")], {})  # noqa: S104
    assert config.api_key == key


def test_the_largest_file_is_taken_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"k" * KEY_FILE_BYTES)
    assert config_from(["--api-key-file", str(file)], {}).api_key == "k" * KEY_FILE_BYTES
    file.write_bytes(b"k" * KEY_FILE_BYTES + b"\n")
    with pytest.raises(ConfigError, match=f"larger than {KEY_FILE_BYTES} bytes"):
        config_from(["--api-key-file", str(file)], {})


@pytest.mark.parametrize(
    ("argv", "environ", "told"),
    [
        (["--api-key=k", "--api-key-file=first.key"], {}, "--api-key and --api-key-file"),
        (["--api-key=k"], {"CLAUDE_OPENAI_API_KEY_FILE": "none.key"}, "--api-key and CLAUDE_OPENAI_API_KEY_FILE"),
        (["--api-key-file=first.key"], {"API_KEY": "k"}, "API_KEY and --api-key-file"),
    ],
)
def test_a_key_and_a_key_file_together_are_refused_with_what_to_drop(
    argv: list[str], environ: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigError, match=f"{told} exclude each other; omit {told.split()[0]} to use the file"):
        config_from(argv, environ)


def test_a_star_for_origins_needs_a_key() -> None:
    with pytest.raises(ConfigError, match="every web page"):
        Config(cors_origins=("http://a", "*"))
    assert Config(cors_origins=("*",), api_key="key").cors_origins == ("*",)


def test_the_default_model_may_be_one_of_the_override() -> None:
    config = config_from(["--default-model", "mine"], {"CLAUDE_MODELS_OVERRIDE": "mine"})
    assert config.catalog().resolve("claude") == "mine"


def test_the_key_is_not_shown_with_the_config() -> None:
    assert "a-secret" not in repr(Config(api_key="a-secret", control_key="a-secret", extra_env={"X": "a-secret-too"}))


@pytest.mark.parametrize(
    ("debug", "level", "effective"),
    [(False, "info", "info"), (True, "error", "debug"), (True, "trace", "trace"), (False, "trace", "trace")],
)
def test_debug_lowers_the_level_and_never_raises_it(debug: bool, level: str, effective: str) -> None:
    assert Config(debug=debug, log_level=level).effective_log_level == effective


@pytest.mark.parametrize(
    ("argv", "effective"),
    [
        ([], "auto"),
        (["--debug"], "json"),
        (["--trace"], "json"),
        (["--log-level", "trace"], "json"),
        (["--log-level", "debug"], "auto"),
        (["--debug", "--log-format", "text"], "text"),
    ],
)
def test_debug_and_trace_select_json_unless_the_format_is_set(argv: list[str], effective: str) -> None:
    assert config_from(argv, {}).effective_log_format == effective


@pytest.mark.parametrize("argv", [["--trace"], ["--trace-file", "t"], ["--trace-file", "t", "--no-trace"]])
@pytest.mark.parametrize("others", [[], ["--log-level", "error"], ["--debug"]])
def test_trace_and_trace_file_set_the_level_over_other_flags(argv: list[str], others: list[str]) -> None:
    assert config_from([*argv, *others], {}).effective_log_level == "trace"


def test_a_trace_file_is_where_the_log_goes_in_place_of_the_log_file() -> None:
    assert config_from(["--trace"], {}).effective_log_file is None
    assert config_from(["--trace", "--log-file", "a"], {}).effective_log_file == Path("a")
    assert config_from(["--trace-file", "b"], {}).effective_log_file == Path("b")
    assert config_from(["--trace-file", "b"], {"CLAUDE_OPENAI_LOG_FILE": "a"}).effective_log_file == Path("b")


LOOPBACK = ["localhost", "LOCALHOST", "localhost.", "x.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]
PUBLIC = ["0.0.0.0", "::", "", "10.0.0.1", "localhost.example", "xlocalhost", "127.0.0.1.example", "128.0.0.1", "[]"]  # noqa: S104


def test_loopback_is_distinguished_from_other_hosts() -> None:
    assert [host for host in [*LOOPBACK, *PUBLIC] if is_loopback(host)] == LOOPBACK


variables = st.sampled_from([name for setting in SETTINGS for name in setting.variables])
flags = st.sampled_from([setting.flag for setting in SETTINGS if setting.flag])
words = st.text(max_size=8) | st.sampled_from([text for row in ROWS.values() for text in (row.first[0], row.second[0])])


@given(st.lists(st.builds("{}={}".format, flags, words) | words, max_size=4), st.dictionaries(variables, words))
def test_no_command_line_and_no_environment_is_more_than_a_config_or_one_line(
    argv: list[str], environ: dict[str, str]
) -> None:
    try:
        config = config_from(argv, environ)
    except ConfigError as error:
        told = str(error).splitlines()
    except SystemExit:
        return  # -h is a word too
    else:
        assert config.api_key is None or config.api_key.strip()
        assert is_loopback(config.host) or config.api_key
        told = [config.catalog().resolve("claude")]
    assert len(told) == 1


@pytest.mark.parametrize("field", ["api_key", "control_key"])
@pytest.mark.parametrize("value", ["", " ", "two words"])
def test_key_that_no_header_can_carry_is_refused_from_a_program(field: str, value: str) -> None:
    with pytest.raises(ConfigError, match=field):
        Config(**dict[str, Any]({field: value}))
