"""A turn, independent of both wire formats: its request, its messages, and the events of its answer."""
