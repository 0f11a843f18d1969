"""A turn in the terms of neither wire: its request, its messages, and the events of its answer."""
