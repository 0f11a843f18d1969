"""Removes the files that a killed `claude` leaves in the user's folders."""
