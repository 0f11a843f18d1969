"""JSON Schema: validation with bounded work, and the dialect that Claude's API accepts."""
