"""The door to the folders of a host: made with their owner, removed with all that is in them."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from .ownership import Owner
from .reach import Make, Place, reach

NOBODY = Owner()


def make(path: str | os.PathLike[str], owner: Owner = NOBODY, mode: int = 0o755) -> None:
    """The folder and those above it that are absent (0755), all of them the owner's. One that exists stays as it is.

    Raises OSError, NotADirectoryError where a file is in the way.
    """
    with reach(os.path.join(path, "-"), make=Make(owner, mode)):
        pass


def remove_empty(path: str | os.PathLike[str]) -> None:
    """Raises OSError for a folder that holds something, or is none."""
    with reach(path, follow=False) as place, place.acting():
        os.rmdir(place.name, dir_fd=place.fd)


def remove_tree(path: str | os.PathLike[str]) -> None:
    """A file, a link, or a folder with all that is in it; no link is followed. What is absent is no error."""
    with suppress(FileNotFoundError, NotADirectoryError), reach(path, follow=False) as place:
        try:
            with place.acting():
                _remove(place)
        except PermissionError:  # of another owner in an account's folder: root's, as long as no link led here
            if place.account is None or place.linked:
                raise
            _remove(place)


def _remove(place: Place) -> None:
    if not stat.S_ISDIR(os.stat(place.name, dir_fd=place.fd, follow_symlinks=False).st_mode):
        os.unlink(place.name, dir_fd=place.fd)
        return
    for _, folders, names, at in os.fwalk(place.name, topdown=False, onerror=_raise, dir_fd=place.fd):
        for name in names:
            os.unlink(name, dir_fd=at)
        for name in folders:
            try:
                os.rmdir(name, dir_fd=at)
            except NotADirectoryError:  # a link to a folder
                os.unlink(name, dir_fd=at)
    os.rmdir(place.name, dir_fd=place.fd)


def _raise(error: OSError) -> None:
    raise error
