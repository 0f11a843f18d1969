"""The live view of the server in the terminal.

`connection` reads the server's stream of events, `feed` merges them, `model` adds what the user has selected, and
`view` turns that into lines of text. `driver` runs these on a terminal, which is `terminal`.
"""
