"""Keeps Claude's own tools inside the folders of their request."""
