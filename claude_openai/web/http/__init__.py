"""HTTP connections and exchanges, below the app."""
