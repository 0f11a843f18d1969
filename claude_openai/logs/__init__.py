"""The log: records of JSON, without secrets, written by a thread of their own."""
