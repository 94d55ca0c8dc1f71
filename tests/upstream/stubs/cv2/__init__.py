"""Stand-in for a package that the trainer imports and, for our data, never calls."""


def __getattr__(name: str) -> int:
    """Any constant."""
    if name.startswith("__"):
        raise AttributeError(name)
    return 0
