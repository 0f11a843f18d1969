"""Runs: their admission, each run as an `async with`, and their records in memory and on disk."""
