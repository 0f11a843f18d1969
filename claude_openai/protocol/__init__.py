"""Translation between OpenAI's wire format and Claude Code's.

Two rules hold in this folder. Everything is a pure function or a synchronous state machine: no trio, quart, hypercorn,
SDK, files, clock or environment (checked by `lint-imports`). And a backend reports a turn only by the frozen events of
`turn/events.py`.
"""
