"""HTTP: who may call, which route, and how a run becomes a response. Knows nothing of Claude Code."""
