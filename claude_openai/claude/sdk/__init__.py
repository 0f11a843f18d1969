"""The SDK backend: live conversations over the Agent SDK, their pool, and the spares."""
