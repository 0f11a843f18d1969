"""The log: JSON records without secrets, written by a separate thread."""
