"""Stand-in for a package that the trainer imports and, for our data, never calls."""
