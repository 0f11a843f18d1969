"""Connections and exchanges, below the app."""
