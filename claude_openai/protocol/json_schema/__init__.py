"""JSON Schema: validation within bounds, and the dialect that Claude's API takes."""
