"""Bounds on the work and the memory of one request."""
