"""A folder that gets its name when it is whole: made beside, then put in the place of the one before it.

<place>/.new-<name>   being made; one that was cut begins anew
<place>/.old-<name>   the one before, between two renames
"""

from __future__ import annotations

import os

from ..system import files, folders

NEW, OLD = ".new-", ".old-"


def settle(place: str) -> None:
    """Ends what was cut: a folder whose successor never got the name gets it back, and the rest is removed."""
    for name in folders.names(place):
        if name.startswith(OLD) and not os.path.lexists(f"{place}/{name[len(OLD) :]}"):
            files.move(f"{place}/{name}", f"{place}/{name[len(OLD) :]}")
    for name in folders.names(place):
        if name.startswith((NEW, OLD)):
            folders.remove_tree(f"{place}/{name}")


def begin(place: str, name: str) -> str:
    """The empty folder to fill, in a settled place."""
    folders.make(f"{place}/{NEW}{name}")
    return f"{place}/{NEW}{name}"


def finish(place: str, name: str) -> None:
    """The filled folder gets its name."""
    files.sync_folder(f"{place}/{NEW}{name}")
    if os.path.lexists(f"{place}/{name}"):
        files.move(f"{place}/{name}", f"{place}/{OLD}{name}")
    files.move(f"{place}/{NEW}{name}", f"{place}/{name}")
    files.sync_folder(place)
    settle(place)
