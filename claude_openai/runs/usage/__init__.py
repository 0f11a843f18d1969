"""What turns have used, by day, model and key, and the usage windows of the account."""
