"""How a turn is run. The only folder that knows the Agent SDK, the CLI, and processes."""
