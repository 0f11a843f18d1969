"""Cassettes: files with the requests of a real session and Claude's answers, which a fake Claude can repeat.

`recorder` writes them while the server runs. `matching` finds the answer to a request, or says what differs.
"""
