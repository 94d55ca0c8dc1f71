"""The real places of a host's paths, behind links, bind mounts, and names that differ only in case."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..core.settings import Settings
from ..system import files

MOUNTS = "/proc/self/mountinfo"
Identity = tuple[int, int]  # device and inode of a folder


@dataclass(frozen=True)
class Spot:
    """`path` without links; where it lies in its file system; the folders on the way to it that exist, itself first."""

    path: str = ""
    device: str = ""  # major:minor of the file system
    inside: str = ""  # the path from the file system's own root
    folders: tuple[Identity, ...] = ()
    exists: bool = False

    def lies_in(self, other: Spot) -> bool:
        """True when this is the other place or below it, by names, links, mounts and inodes."""
        same_disk = bool(self.device) and self.device == other.device
        return (
            below(self.path, other.path)
            or (same_disk and below(self.inside, other.inside))
            or (other.exists and bool(other.folders) and other.folders[0] in self.folders)
        )


def below(path: str, folder: str) -> bool:
    """The folder itself, too."""
    return bool(path and folder) and (path == folder or path.startswith(folder.rstrip("/") + "/"))


def observe(settings: Settings) -> dict[str, Spot]:
    """The place of each setting that is a full path, existing or not."""
    known = mounts()
    paths = {name: value for name, value in settings.items() if isinstance(value, str) and value.startswith("/")}
    return {name: spot(path, known) for name, path in paths.items() if "\0" not in path}


def spot(path: str, mounts: Iterable[tuple[str, str, str]] = ()) -> Spot:
    """`mounts`: point, device and root of each, the later ones over the earlier."""
    real = os.path.realpath(path)
    way, place = [], real
    while True:
        try:
            info = os.stat(place)
            way.append((info.st_dev, info.st_ino))
        except OSError:
            pass
        if place == "/":
            break
        place = os.path.dirname(place)
    device, inside, longest = "", "", -1
    for point, name, root in mounts:
        if below(real, point) and len(point) >= longest:
            rest = os.path.relpath(real, point)
            device, inside, longest = name, os.path.normpath(os.path.join(root, rest)), len(point)
    return Spot(real, device, inside, tuple(way), os.path.exists(real))


def mounts() -> list[tuple[str, str, str]]:
    """Point, device and root of each. proc(5): id, parent, major:minor, root, point, …; blanks as octal escapes."""
    found = []
    for line in files.kernel(MOUNTS).decode("latin-1").splitlines():
        words = [_plain(word) for word in line.split(" ")[:5]]
        found.append((words[4], words[2], words[3]))
    return found


def _plain(word: str) -> str:
    return os.fsdecode(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word).encode("latin-1"))
