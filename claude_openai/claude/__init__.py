"""Runs turns. The only folder that uses the Agent SDK, the CLI and child processes."""
