"""Claude Code's control protocol: its records, and the client's tools as an MCP server."""
