"""A folder of an account that is not trusted, and things of root's that the account must never reach.

Without root there is nobody to become: then the things are out of this process's own reach, and the tests hold alike.
"""

from __future__ import annotations

import os
from pathlib import Path

UID, GID = 12345, 12346
DENIED = r"Permission denied|Too many levels of symbolic links|is not a file"


def give(path: Path) -> Path:
    """The path becomes the account's."""
    if os.geteuid() == 0:
        os.chown(path, UID, GID, follow_symlinks=False)
    return path


def account_folder(root: Path) -> Path:
    """`root` itself must be passable for the account: pytest's own folders are 0700."""
    for above in (root, *root.parents):
        if above.stat().st_uid == os.geteuid() and not above.stat().st_mode & 0o001:
            above.chmod(0o711)
    folder = root / "account"
    folder.mkdir()
    return give(folder)


def secret_file(root: Path) -> Path:
    """A file that root alone can read or change."""
    folder = root / "root"
    folder.mkdir()
    path = folder / "secret"
    path.write_text("precious")
    path.chmod(0)
    folder.chmod(0o555)
    return path


def plant(path: Path, target: Path | str) -> Path:
    """A link of the account's."""
    path.symlink_to(target)
    return give(path)


def deepen(path: Path, levels: int) -> None:
    """Folders in each other, more of them than a path can name."""
    at = os.open(path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
