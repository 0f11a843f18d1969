"""How a running server is found, asked and ended by another process of its user."""
