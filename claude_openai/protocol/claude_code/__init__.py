"""Reads Claude Code's stream of records into the events of a turn."""
