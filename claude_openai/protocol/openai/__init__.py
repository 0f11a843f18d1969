"""OpenAI's two APIs; the modules of this folder itself are used by both."""
