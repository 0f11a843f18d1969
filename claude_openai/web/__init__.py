"""HTTP: who may call, which route, and how a run becomes a response. It does not depend on Claude Code."""
