"""OpenAI's Responses API, by the rules of `protocol`: its fields, items and events, over the same turns."""
