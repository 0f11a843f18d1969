"""What the APIs of clients have in common: bodies and their fields, content, tools, models, frames of a stream."""
