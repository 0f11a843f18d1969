"""Keeps what a server knows and another one needs, or the same one after a restart: in a file, or in Redis."""
