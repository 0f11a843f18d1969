"""Claude's own API, whose wire is the nearest to a turn: the modules of this folder itself are used by all routes."""
