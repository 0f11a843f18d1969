"""Runs: who may run now, one run as one `async with`, and what is kept of it in memory and on disk."""
