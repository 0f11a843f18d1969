"""Claude Code's stream of records, read into the events of a turn."""
