"""Check docker-compose.yml, and run an unpacked image according to it, with the kernel's namespaces.

For machines without Docker, and for test.sh, which calls it. It supports only the features of this compose file: a
mount and a PID namespace, a read-only root, tmpfs and bind mounts, no capabilities, no new privileges. The network is
the machine's, so ports are not mapped, and there is no memory limit.
"""

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parents[1]))

from claude_openai.config import SETTINGS

FILE = Path(__file__).with_name("docker-compose.yml")
REPLICAS = FILE.parent / "replicas" / FILE.name
# Settings whose variables are not passed on as they are: the container's own, and the key's other form.
OWN = {"CLAUDE_OPENAI_HOST", "CLAUDE_OPENAI_PORT", "CLAUDE_OPENAI_BACKGROUND", "CLAUDE_OPENAI_API_KEY_FILE"}
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DRAIN_S = 10
WITHOUT_LOGIN = "without-login"
# `${NAME:-default}` and `${NAME:?message}` with nothing to replace inside of them.
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^${}]*))?\}")


def interpolated(text: str, environ: Mapping[str, str]) -> str:
    """Replace the variables, the inner ones first, as compose does.

    Raises:
        ValueError: one that is required is not set; the message is the file's own.
    """

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if not environ.get(name) and kind == "?":
            raise ValueError(f"{name}: {rest}")
        return environ.get(name) or (rest if kind == "-" else "")

    while (after := VARIABLE.sub(value, text)) != text:
        text = after
    return text


def _walk(node: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _walk(value, environ) for key, value in node.items()}
    if isinstance(node, list):
        return [_walk(value, environ) for value in node]
    return interpolated(node, environ) if isinstance(node, str) else node


def service(environ: Mapping[str, str], name: str = "claude-openai") -> dict[str, Any]:
    """Return a service of the file, or of that of the replicas, its variables replaced."""
    if name == "replica":
        replica: dict[str, Any] = _walk(yaml.safe_load(REPLICAS.read_text("utf-8")), environ)["services"][name]
        return replica
    services = _walk(yaml.safe_load(FILE.read_text("utf-8")), environ)["services"]
    _expect(list(services), ["claude-openai", WITHOUT_LOGIN], "services")
    found: dict[str, Any] = services[name]
    return found


def _expect(found: object, right: object, what: str) -> None:
    if found != right:
        sys.exit(f"{FILE.name}: {what}: {found!r} instead of {right!r}")


def check() -> None:
    """Compare the file with docs/container.md; a difference ends the program with exit code 1."""
    home = {"HOME": "/home/me", "PWD": "/here"}
    try:
        service(home)
    except ValueError as error:
        _expect(str(error).startswith("CLAUDE_OPENAI_API_KEY: set it to a key"), True, f"the message is {error}")
    else:
        sys.exit(f"{FILE.name}: a start without a key is not refused")

    found = service({**home, "CLAUDE_OPENAI_API_KEY": "k"})
    _expect(found["environment"]["CLAUDE_OPENAI_API_KEY"], "k", "the key")
    settings = {setting.variables[0] for setting in SETTINGS} - OWN
    _expect(settings - set(found["environment"]), set(), "settings whose variables are not passed on")
    _expect(OWN & set(found["environment"]), set(), "settings that are the container's own, and passed on")
    _expect(found["ports"], ["127.0.0.1:8000:8000"], "the port is published on loopback only")
    mounts = {v["target"]: (v["source"], v.get("read_only", False)) for v in found["volumes"]}
    _expect(mounts.pop("/home/claude/.claude-openai"), ("output", False), "a volume for what the server keeps")
    right = {
        "/workspace": ("/here", False),
        "/home/claude/.claude": ("/home/me/.claude", False),
        "/home/claude/.config/claude": ("/home/me/.config/claude", True),
    }
    _expect(mounts, right, "mounts, and whether they are only read")
    context = FILE.parent / found["build"]["context"]
    files = [(context / name).is_file() for name in (found["build"]["dockerfile"], "pyproject.toml")]
    _expect(files, [True, True], "the Dockerfile is there, and the context is the repository")
    _expect(found["read_only"], True, "the root is only read")
    _expect((found["cap_drop"], found["security_opt"]), (["ALL"], ["no-new-privileges:true"]), "privileges")
    _expect((found["mem_limit"], found["restart"]), ("2g", "unless-stopped"), "memory and restarts")
    _expect(int(found["stop_grace_period"].removesuffix("s")) > DRAIN_S, True, "time to drain")

    _expect(found["logging"]["options"], {"max-size": "10m", "max-file": "3"}, "the log is rotated")

    # It differs in what it mounts, and starts only if it is named.
    without = service({**home, "CLAUDE_OPENAI_API_KEY": "k"}, WITHOUT_LOGIN)
    own = {"volumes", "networks", "profiles"}
    same = [{key: value for key, value in each.items() if key not in own} for each in (found, without)]
    _expect(same[1], same[0], "the service without a login")
    mounts = {v["target"]: v["source"] for v in without["volumes"]}
    _expect(mounts, {"/workspace": "/here", "/home/claude/.claude-openai": "output"}, "mounts without a login")
    _expect(without["profiles"], [WITHOUT_LOGIN], "the profile of the service without a login")
    _expect(without["networks"], {"default": {"aliases": ["claude-openai"]}}, "its name in the network")

    other = {"CLAUDE_WORKSPACE": "/elsewhere", "CLAUDE_OPENAI_PORT": "9000", "CLAUDE_UID": "501"}
    found = service({**home, **other, "CLAUDE_OPENAI_API_KEY": "k"})
    _expect(found["volumes"][0]["source"], "/elsewhere", "another workspace")
    _expect(found["ports"], ["127.0.0.1:9000:8000"], "another port")
    _expect((found["build"]["args"]["UID"], "uid=501" in found["tmpfs"][1]), ("501", True), "another user")


def as_user(image: Mapping[str, Any], extra: Mapping[str, str]) -> list[str]:
    """Return the start of a command line in the root: the image's user, environment and folder, and no privileges."""
    config = image["config"]
    uid, _, gid = config["User"].partition(":")
    variables = dict(item.split("=", 1) for item in config["Env"]) | dict(extra)
    return [
        *("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"),
        *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
        *("env", "-i", f"--chdir={config['WorkingDir']}", *(f"{k}={v}" for k, v in variables.items())),
    ]


def run(root: Path, image: Mapping[str, Any], extra: Mapping[str, str], name: str) -> None:
    """Replace this process with the container of a service."""
    found = service(os.environ, name)
    uid, _, gid = image["config"]["User"].partition(":")
    given = {k: os.environ.get(k) if v is None else v for k, v in found["environment"].items()}
    script = ["set -eu", "mount --make-rprivate /", f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc"]
    script += [f"mount -t tmpfs -o nosuid,mode=755 tmpfs {root}/dev", f"ln -s /proc/self/fd {root}/dev/fd"]
    for name in DEVICES:
        script += [f"touch {root}/dev/{name}", f"mount --bind /dev/{name} {root}/dev/{name}"]
    for entry in found["tmpfs"]:
        target, _, options = entry.partition(":")
        # What Docker adds to the options of every tmpfs.
        script += [f"mkdir -p {root}{target}", f"mount -t tmpfs -o noexec,nosuid,nodev,{options} tmpfs {root}{target}"]
    for volume in found.get("volumes", ()):
        source, target = shlex.quote(volume["source"]), f"{root}{volume['target']}"
        # A new volume belongs to the owner of the folder in the image.
        new = f"-t tmpfs -o nodev,uid={uid},gid={gid} tmpfs"
        script += [f"mkdir -p {target}", f"mount {'--bind ' + source if volume['type'] == 'bind' else new} {target}"]
        if volume.get("read_only"):
            script.append(f"mount -o remount,bind,ro {target}")
    script.append(f"mount -o remount,bind,ro {root}")
    variables = {k: str(v) for k, v in given.items() if v is not None} | dict(extra)
    inside = [*as_user(image, variables), *image["config"]["Entrypoint"]]
    script.append(f"exec chroot {root} {shlex.join(inside)}")
    os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(script)])  # noqa: S606, S607


def execute(pid: str, image: Mapping[str, Any], extra: Mapping[str, str], command: list[str]) -> None:
    """Run a command in the container of process `pid`; by default the image's HEALTHCHECK."""
    command = command or image["Docker"]["config"]["Healthcheck"]["Test"][1:]
    inside = [*as_user(image, extra), *command]
    os.execvp("nsenter", ["nsenter", f"--target={pid}", "--mount", "--pid", "--root", *inside])  # noqa: S606, S607


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("what", choices=("check", "run", "exec"))
    parser.add_argument("--root", type=Path, help="where the image is unpacked")
    parser.add_argument("--image", type=Path, help="what `buildah inspect --type image` says of it")
    parser.add_argument("--service", default="claude-openai", help="the service to run")
    parser.add_argument("--pid", help="the container's first process")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="more variables")
    parser.add_argument(
        "--command", nargs=argparse.REMAINDER, default=[], help="what to run instead of the HEALTHCHECK"
    )
    given = parser.parse_args()
    if given.what == "check":
        check()
        return
    described = json.loads(given.image.read_text("utf-8"))
    # The image's own configuration, as Docker keeps it.
    described["config"] = described["Docker"]["config"]
    extra = dict(item.split("=", 1) for item in given.env)
    if given.what == "run":
        run(given.root, described, extra, given.service)
    execute(given.pid, described, extra, given.command)


if __name__ == "__main__":
    main()
