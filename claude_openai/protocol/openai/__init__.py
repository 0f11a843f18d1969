"""OpenAI's two APIs: what both share of reading a request and writing an answer."""
