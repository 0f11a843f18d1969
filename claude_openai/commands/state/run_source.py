"""Sources of runs for `runs`, `tail` and `cancel`: the running server, or files if none is running."""

import argparse
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from claude_openai.commands.instance import control_client as control
from claude_openai.commands.instance.record import Instance, find_instance, instance_folder
from claude_openai.commands.state.output_folder import last_folder
from claude_openai.config import SETTINGS
from claude_openai.errors import ConfigError, StartError
from claude_openai.file_access import READ_BYTES, is_locked
from claude_openai.protocol.claude_code.line_framer import LineFramer
from claude_openai.runs.capture.files import MAX_LISTED, find_run, list_runs, open_folder, open_run
from claude_openai.runs.capture.records import RUN_ID, RunRecord, is_end

__all__ = ["RunSource", "ServerRuns", "add_folder_flag", "check_id", "run_named", "runs_of", "visible"]

FILE_POLL_S: Final = 0.2

_SETTING: Final = next(setting for setting in SETTINGS if setting.name == "output_dir")
_ID_PREFIX: Final = re.compile(r"run_[0-9a-f]{1,24}")
# Control characters: the text of a model must not control the terminal.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class RunSource(Protocol):
    """A source of runs. `where` describes it in messages."""

    @property
    def where(self) -> str: ...

    def list(self, limit: int) -> list[RunRecord]:
        """Return at most `limit` runs, newest first."""

    def find(self, run_id: str) -> RunRecord | None: ...

    def output(self, run_id: str, *, follow: bool) -> Iterator[bytes]:
        """Yield the captured lines; with `follow`, until the run has ended.

        Raises:
            StartError: there is no output, or it cannot be read.
        """


class ServerRuns:
    """The runs of a running server."""

    where = "the server"

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def list(self, limit: int) -> list[RunRecord]:
        return _records(control.get_json(self._instance, f"/control/runs?limit={limit}")["data"])

    def find(self, run_id: str) -> RunRecord | None:
        return RunRecord.from_json(control.get_json(self._instance, f"/control/runs/{run_id}"))

    def output(self, run_id: str, *, follow: bool) -> Iterator[bytes]:
        path = f"/control/runs/{run_id}/output?follow={int(follow)}"
        with control.stream(self._instance, path, is_live=follow) as lines:
            yield from lines

    def cancel(self, run_id: str) -> RunRecord | None:
        """Cancel a run, and return its record."""
        return RunRecord.from_json(control.post_json(self._instance, f"/control/runs/{run_id}/cancel"))


class FileRuns:
    """The captured runs in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.where = f"{str(folder)!r} ({_SETTING.flag} reads another folder)"

    def list(self, limit: int) -> list[RunRecord]:
        return list_runs(self._folder, limit)

    def find(self, run_id: str) -> RunRecord | None:
        return find_run(self._folder, run_id)

    def output(self, run_id: str, *, follow: bool) -> Iterator[bytes]:
        try:
            with open_folder(self._folder) as folder_fd:
                fd = open_run(folder_fd, run_id)
        except OSError:
            raise StartError(f"no server is running, and there is no run {run_id} in {self.where}") from None
        try:
            yield from _file_lines(fd, follow=follow)
        finally:
            os.close(fd)


def _file_lines(fd: int, *, follow: bool) -> Iterator[bytes]:
    framer, ended = LineFramer(), False
    while True:
        alive = follow and is_locked(fd)  # checked first: lines written before the lock is released are read below
        while data := os.read(fd, READ_BYTES):
            lines = framer.feed(data)
            ended = ended or any(is_end(line) for line in lines)
            yield from lines
        if ended or not alive:
            return
        time.sleep(FILE_POLL_S)


def add_folder_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        _SETTING.flag,
        dest=_SETTING.name,
        metavar=_SETTING.metavar,
        help="read the runs from this folder, not from the server",
    )


def runs_of(folder_flag: str | None, environ: Mapping[str, str]) -> RunSource:
    """Return the running server as the source; the files if a folder is set, or no server is running.

    Raises:
        ConfigError: the folder is invalid.
        StartError: no server is running, and runs are not captured.
    """
    instance = find_instance(instance_folder(environ)) if folder_flag is None else None
    if instance is not None:
        return ServerRuns(instance)
    raw, source = _SETTING.find(folder_flag, environ)
    folder = last_folder() if raw is None else None
    if folder is None:
        folder = _SETTING.read(_SETTING.of_command if raw is None else raw, source)
    if folder is None:
        raise StartError("no server is running, and runs are not captured (--output-dir none)")
    return FileRuns(folder)


def check_id(user_input: str) -> str:
    """Return the beginning of a run id with `run_`, which the user may omit.

    Raises:
        ConfigError: it is not the beginning of a run id.
    """
    prefix = user_input if user_input.startswith("run_") else f"run_{user_input}"
    if not _ID_PREFIX.fullmatch(prefix):
        raise ConfigError(f"invalid run id {user_input!r}; expected 'run_' and up to 24 hex digits")
    return prefix


def run_named(runs: RunSource, user_input: str) -> str:
    """Return the id of the run with this id, or the beginning of it.

    Raises:
        ConfigError: it is not the beginning of a run id.
        StartError: no run has it, or more than one.
    """
    prefix = check_id(user_input)
    if RUN_ID.fullmatch(prefix):
        return prefix
    found = [record.id for record in runs.list(MAX_LISTED) if record.id.startswith(prefix)]
    if len(found) != 1:
        named = f": {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}" if found else ""
        where = "" if found else f" in {runs.where}"
        raise StartError(f"{len(found) or 'no'} runs have an id that begins with {prefix!r}{where}{named}")
    return found[0]


def visible(text: str) -> str:
    """Return the text without control characters."""
    return _CONTROL.sub("", text)


def _records(items: Any) -> list[RunRecord]:
    return [record for record in map(RunRecord.from_json, items) if record is not None]
