"""A stand-in for Claude's Messages API on loopback, for the demo, for probes of the CLI, and for tests."""
