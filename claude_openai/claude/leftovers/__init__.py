"""What a `claude` that was killed leaves in the user's folders, and its removal."""
