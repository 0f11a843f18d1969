"""Files of a server that outlive it, for the commands: its output folder, its standard error, its runs."""
