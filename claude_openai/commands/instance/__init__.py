"""Find, query and stop a running server from another process of its user."""
