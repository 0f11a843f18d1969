"""The checks of the server's folder for temporary files, of a running server, and of the port.

Nothing is written. The port is bound for a moment and released.
"""

import errno
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from claude_openai.commands.doctor.checks import Finding, obstacle
from claude_openai.commands.instance.health import health_of
from claude_openai.commands.instance.installed import RESTART_HINT, outdated
from claude_openai.commands.instance.port_owner import port_owner
from claude_openai.commands.instance.record import Instance, find_instance, instance_folder, is_claimed
from claude_openai.config import Config
from claude_openai.errors import StartError

__all__ = ["port_check", "server_checks"]

MIN_FREE_MB: Final = 100


def server_checks(environ: Mapping[str, str]) -> tuple[list[Finding], Instance | None]:
    """Check the folder for temporary files and the running server; return that server too, if there is one."""
    folder = instance_folder(environ)
    check = _folder(folder)
    if check.state == "FAIL":
        return [check], None
    try:
        instance = find_instance(folder)
        starts = instance is None and is_claimed(folder)
    except StartError as error:
        return [check, Finding("server", "FAIL", error.problem, error.hint)], None
    if starts:
        return [check, Finding("server", "ok", "one is starting, and does not listen yet")], None
    return [check, _server(instance)], instance


def _folder(folder: Path) -> Finding:
    reason = obstacle(folder) if folder.exists() else f"no such folder: {str(folder)!r}"
    if reason:
        return Finding("temp folder", "FAIL", reason, "set TMPDIR to a folder that you own")
    free_mb = shutil.disk_usage(folder).free // 1024**2
    if free_mb < MIN_FREE_MB:
        mend = "free disk space, or set TMPDIR to another folder"
        return Finding("temp folder", "warning", f"{str(folder)!r} has only {free_mb} MB free", mend)
    return Finding("temp folder", "ok", f"{str(folder)!r}: writable, {free_mb} MB free")


def _server(instance: Instance | None) -> Finding:
    if instance is None:
        return Finding("server", "ok", "not running; `claude-openai --background` starts it")
    found = f"{instance.version} runs at {instance.base_url} (pid {instance.pid}, {instance.backend})"
    health = health_of(instance)
    if health != "ok":
        return Finding(
            "server", "FAIL", f"{found}, health {health}", "run `claude-openai restart`; see `claude-openai logs`"
        )
    difference = outdated(instance)
    if difference:
        return Finding("server", "warning", difference, RESTART_HINT)
    return Finding("server", "ok", f"{found}, health ok")


def port_check(config: Config, instance: Instance | None) -> Finding:
    """Check whether a server with this configuration could listen on its port, or the running server already does.

    Args:
        config: has the host and the port.
        instance: the running server.
    """
    where = f"{config.port} on {config.host}"
    if config.listen:
        return Finding("port", "ok", f"not checked; the server will listen on {' and '.join(config.listen)}")
    if config.port == 0:
        return Finding("port", "ok", f"0: the server will use a free port on {config.host}")
    if instance is not None and instance.port == config.port:
        return Finding("port", "ok", f"{where} is the running server's port")
    try:
        _bind(config.host, config.port)
    except socket.gaierror as error:
        return Finding("port", "FAIL", f"unknown host {config.host!r}: {error.strerror}", "use --host 127.0.0.1")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            owner = port_owner(config.port)
            if owner is None:
                return Finding("port", "FAIL", f"{where} is in use by another program", "choose another --port")
            return Finding("port", "FAIL", f"{where} is in use by {owner}", owner.hint)
        mend = "ports below 1024 need root: use --port 8000" if error.errno == errno.EACCES else "use --host 127.0.0.1"
        return Finding("port", "FAIL", f"cannot listen on {where}: {error.strerror}", mend)
    return Finding("port", "ok", f"{where} is free")


def _bind(host: str, port: int) -> None:
    """Bind the port with the options that the server uses, and release it.

    Raises:
        OSError: the port cannot be bound.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
