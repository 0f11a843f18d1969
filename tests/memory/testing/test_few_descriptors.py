"""Fakes in a process with 64 file descriptors: they answer, or a StartError says that too few are free. Nothing hangs.

One program tries each kind of fake with each number of free descriptors, and prints the results.
"""

import json
import re
import subprocess
import sys
from itertools import groupby

# Far beyond what it takes, so that only a hang meets it.
LIMIT_S = 600
PROGRAM = """
import gc, json, os, resource
from contextlib import contextmanager

import openai, trio
from claude_openai.testing import fake_claude, running_fake_claude

CHAT = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}
TIMES = 2
OPTIONS = {"max_retries": 0, "timeout": 300}

@contextmanager
def free(count):
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for _ in range(count):
        os.close(held.pop())
    try:
        yield
    finally:
        for each in held:
            os.close(each)

def thread(count):
    with free(count), running_fake_claude(*["Hello"] * TIMES) as claude:
        client = claude.openai(**OPTIONS)
        return [client.chat.completions.create(**CHAT).choices[0].message.content for _ in range(TIMES)]

async def ask(client):
    return [(await client.chat.completions.create(**CHAT)).choices[0].message.content for _ in range(TIMES)]

async def memory(count):
    with free(count):
        async with fake_claude(*["Hello"] * TIMES) as claude:
            return await ask(claude.openai(**OPTIONS))

async def socket(count):
    with free(count):
        async with fake_claude(*["Hello"] * TIMES) as claude:
            url = claude.url
            http = openai.DefaultAsyncHttpxClient(trust_env=False)
            return await ask(claude.openai(base_url=url, http_client=http, **OPTIONS))

def descriptors():
    gc.collect()  # trio (0.35) leaves two sockets of a loop that cannot start
    return os.listdir("/dev/fd")

def tried(function, count):
    before = descriptors()
    try:
        result = function(count)
    except BaseException as error:
        result = f"{type(error).__name__}: {error}"
    assert descriptors() == before
    return result

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
kinds = {
    "thread": thread,
    "memory": lambda count: trio.run(memory, count),
    "socket": lambda count: trio.run(socket, count),
}
for function in kinds.values():
    function(40)  # loads the modules
gc.freeze()  # a collection then takes no time
print(json.dumps({name: [tried(function, count) for count in range(12)] for name, function in kinds.items()}))
"""
ANSWERED = ["Hello"] * 2


def test_fake_with_few_descriptors_answers_or_reports_the_limit() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    results: dict[str, list[object]] = json.loads(done.stdout)
    assert results["memory"] == [ANSWERED] * len(results["memory"])
    for kind, problem in (("thread", "cannot run fake_claude|cannot listen"), ("socket", "cannot listen")):
        *failures, last = [result for result, _ in groupby(results[kind])]
        assert last == ANSWERED
        for failure in failures:
            assert isinstance(failure, str)
            assert re.match(rf"StartError: ({problem}).*: Too many open files; .*ulimit -n", failure)
