"""`dashboard`: print the address of the page, with a ticket that logs one browser in.

It does not start a browser: other users of the machine can read the address in the process list, and use the ticket
first.
"""

from collections.abc import Mapping, Sequence

from claude_openai.commands import command_parser, not_running, say
from claude_openai.commands.instance.record import Instance, find_instance, instance_folder
from claude_openai.config.addresses import UNIX
from claude_openai.config.setting import Parser
from claude_openai.errors import StartError

__all__ = ["page_url", "parser", "run"]


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    return command_parser(
        "dashboard",
        "Print the address of the page that shows what the server does. It logs one browser in, once, within an hour.",
    )


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the address.

    Returns:
        0, or 1 if no server is running.

    Raises:
        StartError: the server has only a Unix socket.
        ControlError: the server does not answer, or is of a version without the page.
    """
    parser().parse_args(list(argv))
    folder = instance_folder(environ)
    instance = find_instance(folder)
    if instance is None:
        say(f"claude-openai: {not_running(folder)}")
        return 1
    print(page_url(instance))
    return 0


def page_url(instance: Instance) -> str:
    """Return the address of the page, with a new ticket.

    Raises:
        StartError: the server has only a Unix socket.
        ControlError: the server does not answer, or is of a version without the page.
    """
    from claude_openai.commands.instance.control_client import post_json

    if instance.base_url.startswith(UNIX):
        raise StartError(
            f"the server listens only at {instance.base_url}, which no browser can open",
            hint="start it with --listen ADDRESS,127.0.0.1:8000",
        )
    return f"{instance.base_url}/dashboard#ticket={post_json(instance, '/control/tickets')['ticket']}"
