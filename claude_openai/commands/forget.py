"""`claude-openai forget`: empty the store of responses, and what the running server keeps in memory."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from claude_openai.commands import command_parser
from claude_openai.commands.instance import control_client as control
from claude_openai.commands.instance.record import find_instance, instance_folder
from claude_openai.commands.state.store_flags import add_redis_flags, add_store_flag, flag_of, redis_in, value_in
from claude_openai.config import Config
from claude_openai.config.setting import Parser
from claude_openai.errors import StartError

if TYPE_CHECKING:
    from claude_openai.state.store import StateStore

__all__ = ["parser", "run"]

# For all values of a store.
CLEAR_S: Final = 60.0


def parser() -> Parser:
    """Return the parser of the command's own flags."""
    parser = command_parser(
        "forget",
        "Forget stored responses and kept answers: those in the memory and the store of the running server, and those "
        "in a file or in Redis.",
    )
    help_text = "empty this {} too; without a running server, by default that of the variable"
    add_store_flag(parser, "responses_file", help_text.format("file"))
    add_redis_flags(parser, help_text.format("Redis"))
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    options = parser().parse_args(list(argv))
    instance = find_instance(instance_folder(environ))
    # A flag names what to empty: Redis of the variable may be that of others too.
    is_named = bool(options.responses_file or options.state_url)
    stores = list(_stores(options, environ, by_variables=instance is None and not is_named))
    if instance is not None:
        counts = control.post_json(instance, "/control/forget")
        print(
            f"server (pid {instance.pid}): forgot {counts['responses']} responses, {counts['items']} items and "
            f"{counts['answers']} answers in memory, and {counts['stored']} values in its store"
        )
    elif not stores:
        flags = f"neither {flag_of('responses_file')} nor {flag_of('state_url')}"
        print(f"no server is running, and {flags} is set: nothing was deleted")
    for name, config in stores:
        print(f"{getattr(config, name)}: forgot {_cleared(name, config)} values")
    return 0


def _stores(
    options: argparse.Namespace, environ: Mapping[str, str], *, by_variables: bool
) -> Iterator[tuple[str, Config]]:
    """Yield the name of the setting of each store, and a config that has it."""
    if by_variables or options.responses_file:
        path = value_in("responses_file", options, environ)
        if path is not None:
            yield "responses_file", Config(responses_file=path)
    if by_variables or options.state_url:
        redis = redis_in(options, environ)
        if redis is not None:
            yield "state_url", Config(state_url=redis[0], state_password=redis[1])


def _cleared(name: str, config: Config) -> int:
    # Imported here: the other commands start without trio and SQLite.
    import trio

    from claude_openai.logs.log import NULL_LOG
    from claude_openai.state.opening import open_state
    from claude_openai.state.store import StateError

    store = cast("StateStore", open_state(config, NULL_LOG))

    async def clear() -> int | str:
        with trio.move_on_after(CLEAR_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(store.run)
                try:
                    return await store.clear()
                except StateError as error:
                    return str(error)
                finally:
                    nursery.cancel_scope.cancel()
        return f"{getattr(config, name)}: it took longer than {CLEAR_S:g} s"

    count = trio.run(clear)
    if isinstance(count, str):
        hint = f"its values may still be there; correct {flag_of(name)}, or try again later"
        raise StartError(f"cannot empty the store: {count}", hint=hint)
    return count
