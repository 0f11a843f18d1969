"""`python -m claude_openai` is the same as `claude-openai`."""

import sys

from claude_openai import commands


def main() -> None:
    sys.exit(commands.main())


if __name__ == "__main__":
    main()
