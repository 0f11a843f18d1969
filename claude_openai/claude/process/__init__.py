"""One supervised `claude` process: its command line, its start, its end, its files."""
