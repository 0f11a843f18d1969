"""The translation between OpenAI's wire format and Claude Code's, and nothing else.

Two rules hold in this folder. First: everything here is a pure function or a small synchronous state machine; nothing
imports trio, quart, hypercorn, the SDK, a file, a clock or the environment. Second: the frozen events of `events.py`
are the only currency between this folder and whoever runs a turn.
"""
