"""docker-compose.yml passes every setting on to the container; docker/test.sh checks all else about it."""

import re
from pathlib import Path
from typing import Final

from claude_openai.config import SETTINGS

COMPOSE: Final = Path(__file__).parents[3] / "docker" / "docker-compose.yml"
# The container's own, and the key's other form.
OWN: Final = {"CLAUDE_OPENAI_HOST", "CLAUDE_OPENAI_PORT", "CLAUDE_OPENAI_BACKGROUND", "CLAUDE_OPENAI_API_KEY_FILE"}


def test_compose_file_passes_each_setting_on() -> None:
    passed_on = set(re.findall(r"^ +(CLAUDE_\w+):", COMPOSE.read_text(), re.MULTILINE))
    assert {setting.variables[0] for setting in SETTINGS} - OWN - passed_on == set()
