"""`claude-openai doctor`: check whether a server would work here."""
