"""The APIs side by side: the first delta, and the rate of a stream, of a backend that costs nothing.

All are measured in turn in one server. The rate is that of a second of the server's processor time, as in `watching`.
"""

import statistics

from .client import CHAT_MARKS, Timing, streamed
from .report import cpu_ms, report, server
from .servers import WORD

__all__ = ["apis"]

ROUNDS = 9
DELTAS = 30_000
BOUND = 0.9

# The path, the field of the prompt, and what is in each delta once.
APIS = {
    "chat completions": ("/v1/chat/completions", "messages", CHAT_MARKS[0]),
    "completions": ("/v1/completions", "prompt", f'"text":"{WORD}"'.encode()),
    "responses": ("/v1/responses", "input", b"event: response.output_text.delta"),
    "messages": ("/v1/messages", "messages", b'"type":"text_delta"'),
}


def apis() -> None:
    firsts: dict[str, list[float]] = {name: [] for name in APIS}
    rates: dict[str, list[float]] = {name: [] for name in APIS}
    with server("scripted") as (url, pid):
        for name in APIS:
            ask(url, name, DELTAS // 10)
        for _ in range(ROUNDS):
            for name in APIS:
                firsts[name].append(ask(url, name, 2).first_s)
                before_ms = cpu_ms(pid)
                measured = ask(url, name, DELTAS)
                rates[name].append(1000 * measured.deltas / (cpu_ms(pid) - before_ms))
    fastest = max(rates, key=lambda name: statistics.median(rates[name]))
    for name in APIS:
        # By rounds, as in `watching`.
        ratio = statistics.median(one / best for one, best in zip(rates[name], rates[fastest], strict=True))
        report(f"{name}, to the first delta", f"{statistics.median(firsts[name]) * 1000:.1f} ms")
        text = f"{statistics.median(rates[name]):,.0f}, {ratio:.2f} of {fastest}"
        report(f"{name}, deltas a second of the processor", text, holds=ratio >= BOUND)


def ask(url: str, name: str, deltas: int) -> Timing:
    path, field, mark = APIS[name]
    prompt = f"say {deltas}"
    message = {"role": "user", "content": prompt}
    timing = streamed(url, path, {field: [message] if field == "messages" else prompt}, mark)
    if timing.deltas != deltas:
        raise RuntimeError(f"{timing.deltas} of {deltas} deltas came over {name}")
    return timing
