"""Claude Code's control protocol: its records, and an MCP server with the client's tools."""
