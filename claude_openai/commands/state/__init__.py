"""What a server leaves on disk for the commands: paths, remembered folders, its stderr, its runs."""
