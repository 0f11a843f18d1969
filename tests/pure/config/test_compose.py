"""The compose files: docker/test.sh checks all else about the first one."""

import re
from pathlib import Path
from typing import Final

import pytest

from claude_openai.commands.instance.processes import BEYOND_DRAIN_S
from claude_openai.config import SETTINGS
from claude_openai.web.http.affinity import AFFINITY_HEADERS

COMPOSE: Final = Path(__file__).parents[3] / "docker" / "docker-compose.yml"
# The container's own, and the key's other form.
OWN: Final = {"CLAUDE_OPENAI_HOST", "CLAUDE_OPENAI_PORT", "CLAUDE_OPENAI_BACKGROUND", "CLAUDE_OPENAI_API_KEY_FILE"}


def test_compose_file_passes_each_setting_on() -> None:
    passed_on = set(re.findall(r"^ +(CLAUDE_\w+):", COMPOSE.read_text(), re.MULTILINE))
    assert {setting.variables[0] for setting in SETTINGS} - OWN - passed_on == set()


def test_replicas_may_end_their_turns_and_outlive_the_check_of_the_balancer() -> None:
    folder = COMPOSE.parent / "replicas"
    compose, balancer = (folder / "docker-compose.yml").read_text(), (folder / "haproxy.cfg").read_text()

    def number(pattern: str, text: str) -> int:
        (found,) = re.findall(pattern, text, re.MULTILINE)
        return int(found)

    lame_duck_ms = number(r"LAME_DUCK_MS: (\d+)", compose)
    drain_ms = number(r"DRAIN_TIMEOUT_MS: (\d+)", compose)
    grace_ms = max(int(found) for found in re.findall(r"stop_grace_period: (\d+)m", compose)) * 60_000
    assert grace_ms > lame_duck_ms + drain_ms + BEYOND_DRAIN_S * 1000
    checked_s = number(r" inter (\d+)s", balancer) * number(r" fall (\d+)", balancer)
    assert lame_duck_ms > (checked_s + number(r"timeout check (\d+)s", balancer)) * 1000
    names = re.findall(r"^ +(CLAUDE_OPENAI_\w+):", compose, re.MULTILINE)
    assert {*names} <= {name for setting in SETTINGS for name in setting.variables}


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("haproxy.cfg", r"set-var\(txn\.(?:session|affinity)\) req\.hdr\(([\w-]+)\)"),
        ("nginx.conf", r"^ +map \$http_(\w+) \$affinity"),
        ("envoy.yaml", r"header_name: ([\w-]+)"),
    ],
)
def test_balancers_know_the_order_of_affinity(name: str, pattern: str) -> None:
    found = re.findall(pattern, (COMPOSE.parent / "replicas" / name).read_text(), re.MULTILINE)
    assert tuple(each.replace("_", "-") for each in found) == (*AFFINITY_HEADERS, "authorization", "x-api-key")
