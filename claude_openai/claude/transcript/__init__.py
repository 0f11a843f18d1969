"""Writes a history as the session file that Claude Code resumes from."""
