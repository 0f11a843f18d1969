"""`claude-openai doctor`: what keeps a server from working here, and how to mend it."""
