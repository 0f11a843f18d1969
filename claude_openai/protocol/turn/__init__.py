"""A turn, independent of all wire formats: its request, its messages, and the events of its answer."""
