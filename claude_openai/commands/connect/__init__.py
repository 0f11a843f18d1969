"""`claude-openai connect`: the configuration that makes a client use this server."""
