"""OpenAI's older Completions API: a text in, a text out."""
