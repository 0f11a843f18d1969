"""Stores state in a file or in Redis, for other servers and for the same server after a restart."""
