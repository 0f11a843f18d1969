"""What runs say, on disk: records, files, and the thread that writes them."""
