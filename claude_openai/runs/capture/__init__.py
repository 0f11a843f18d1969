"""Captures runs on disk: the records, the files, and the thread that writes them."""
