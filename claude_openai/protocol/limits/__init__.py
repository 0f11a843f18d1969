"""Bounds on the work and the memory that one request can cost."""
