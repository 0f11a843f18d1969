"""Where the commands find the runs: the server that runs, or the files if none does. And what they print alike."""

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
_ID_BEGIN: Final = re.compile(r"run_[0-9a-f]{1,24}")
# Control characters: what a model writes must not steer the terminal.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class RunSource(Protocol):
    """`where` says where they are, for messages."""

    @property
    def where(self) -> str: ...

    def list(self, limit: int) -> list[RunRecord]:
        """The newest first."""

    def find(self, run_id: str) -> RunRecord | None: ...

    def output(self, run_id: str, *, follow: bool) -> Iterator[bytes]:
        """The captured lines, to the end of the run if it is followed.

        Raises:
            StartError: there is none, or it cannot be read.
        """


class ServerRuns:
    """The runs that a server knows."""

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
        """End it; gives what became of it."""
        return RunRecord.from_json(control.post_json(self._instance, f"/control/runs/{run_id}/cancel"))


class FileRuns:
    """The runs that a folder holds."""

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
            raise StartError(f"there is no run {run_id} in {self.where}, and no server runs") from None
        try:
            yield from _file_lines(fd, follow=follow)
        finally:
            os.close(fd)


def _file_lines(fd: int, *, follow: bool) -> Iterator[bytes]:
    framer, ended = LineFramer(), False
    while True:
        alive = follow and is_locked(fd)  # first: what is written before the lock is let go is read after
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


def runs_of(folder_given: str | None, environ: Mapping[str, str]) -> RunSource:
    """The server that runs; if a folder was given, or none runs, the files.

    Raises:
        ConfigError: the folder cannot be one.
        StartError: runs are not captured, and no server runs.
    """
    instance = find_instance(instance_folder(environ)) if folder_given is None else None
    if instance is not None:
        return ServerRuns(instance)
    raw, source = _SETTING.find(folder_given, environ)
    folder = last_folder() if raw is None else None
    if folder is None:
        folder = _SETTING.read(_SETTING.of_command if raw is None else raw, source)
    if folder is None:
        raise StartError("no server runs, and runs are not captured (--output-dir none)")
    return FileRuns(folder)


def check_id(given: str) -> str:
    """The whole beginning of the id that is meant: it may come with or without `run_`.

    Raises:
        ConfigError: it is not the beginning of an id.
    """
    begin = given if given.startswith("run_") else f"run_{given}"
    if not _ID_BEGIN.fullmatch(begin):
        raise ConfigError(f"invalid run id {given!r}; expected 'run_' and up to 24 hex digits")
    return begin


def run_named(runs: RunSource, given: str) -> str:
    """The id that is meant: the beginning of one will do.

    Raises:
        ConfigError: it is not the beginning of an id.
        StartError: there is no such run, or more than one.
    """
    begin = check_id(given)
    if RUN_ID.fullmatch(begin):
        return begin
    found = [record.id for record in runs.list(MAX_LISTED) if record.id.startswith(begin)]
    if len(found) != 1:
        named = f": {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}" if found else ""
        where = "" if found else f" in {runs.where}"
        raise StartError(f"{len(found) or 'no'} runs have an id that begins with {begin!r}{where}{named}")
    return found[0]


def visible(text: str) -> str:
    """The text without what would steer a terminal."""
    return _CONTROL.sub("", text)


def _records(given: Any) -> list[RunRecord]:
    return [record for record in map(RunRecord.from_json, given) if record is not None]
