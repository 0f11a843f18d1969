"""The picture of a session in the README is what its script makes."""

import pytest

from tests.conditions import needs
from tests.real.harness import needs_claude
from tests.session_picture import PICTURE, picture, session


@pytest.mark.long
@needs("curl")
@needs_claude
def test_the_picture_shows_what_the_commands_print_now() -> None:
    assert picture(session()) == PICTURE.read_text("utf-8"), "run: python -m tests.session_picture"
