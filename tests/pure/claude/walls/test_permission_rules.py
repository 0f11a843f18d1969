"""The permission rules that a process with tools is started with."""

from typing import Any, Final, get_args

import pytest

from claude_openai.claude.walls.permission_rules import Secrets, permission_rules, secrets_of_user
from claude_openai.protocol.turn.claude_options import ClaudeOptions, PermissionMode, Root

HOME: Final = "/home/u"
CONFIG: Final = "/home/u/.claude"
USER: Final = secrets_of_user(HOME, CONFIG)


def options(*roots: str, mode: PermissionMode = "plan") -> ClaudeOptions:
    folders = tuple(Root(root, 1, 2, "claude.workingDirectory") for root in roots)
    return ClaudeOptions(tool_mode="all", permission_mode=mode, roots=folders)


def denied(*roots: str, **secrets: Any) -> list[str]:
    return permission_rules(options(*roots), Secrets(**secrets))["deny"]


def test_secrets_are_denied_to_reading_and_to_editing_tools() -> None:
    rules = denied("/w", of_server=(("/run/s", ""), ("/k/key", "")))
    assert rules == ["Read(//run/s)", "Edit(//run/s)", "Read(//k/key)", "Edit(//k/key)"]


def test_the_usual_places_of_a_user_are_denied() -> None:
    rules = denied("/home/u/project", of_user=USER)
    for place in (".ssh", ".gnupg", ".aws", ".config/gcloud", ".netrc", ".claude.json", ".claude/.credentials.json"):
        assert f"Read(//home/u/{place})" in rules
        assert f"Edit(//home/u/{place})" in rules
    assert "Read(//home/u/.claude/projects/*/*.jsonl)" in rules


def test_what_claude_code_needs_itself_is_not_denied() -> None:
    for rule in denied("/w", of_user=USER):
        path = rule.partition("(/")[2].removesuffix(")")
        for needed in (f"{CONFIG}/plans/a.md", f"{CONFIG}/projects/-w/s/tool-results/b.txt"):
            assert not needed.startswith(path + "/")


def test_the_users_own_folder_is_denied_whole_where_the_process_has_another() -> None:
    rules = denied("/w", of_user=secrets_of_user(HOME, "/run/s/config"))
    assert "Read(//home/u/.claude)" in rules
    assert "Read(//run/s/config/.credentials.json)" in rules


def test_a_folder_that_was_allowed_by_name_gives_the_users_secrets_in_it_but_not_the_servers() -> None:
    mine = {"of_user": USER, "of_server": (("/home/u/.claude-openai/output", ""),)}
    assert "Read(//home/u/.ssh)" in denied(HOME, **mine)  # the server just happens to run there
    rules = denied(HOME, **mine, are_folders_named=True)
    assert rules == ["Read(//home/u/.claude-openai/output)", "Edit(//home/u/.claude-openai/output)"]
    assert "Read(//home/u/.ssh)" in denied("/home/u/.aws", **mine, are_folders_named=True)


def test_a_folder_inside_of_a_secret_place_can_be_worked_in() -> None:
    for root in ("/run/s", "/run/s/inner"):
        assert denied(root, of_server=(("/run/s", ""),)) == []
    assert denied("/run/s2", of_server=(("/run/s", ""),)) != []
    rules = denied("/home/u/.aws/x", of_user=USER)
    assert "Read(//home/u/.aws)" not in rules
    assert "Read(//home/u/.ssh)" in rules


def test_what_a_rule_would_take_for_a_wildcard_matches_itself() -> None:
    (rule, _) = denied("/w", of_server=(("/a (b) [c] *d !e {f}#g?h\\i", ""),))
    assert rule == "Read(//a ?b? ?c? ?d ?e ?f??g?h?i)"


@pytest.mark.parametrize("mode", [*get_args(PermissionMode), None])
def test_git_is_asked_for_unless_everything_is_allowed_on_purpose(mode: PermissionMode) -> None:
    rules = permission_rules(options("/w", mode=mode), Secrets())
    assert rules.get("ask") == (None if mode == "bypassPermissions" else ["Bash(git)", "Bash(git *)"])
