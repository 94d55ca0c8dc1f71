"""The seal of a finished save: hard links of its files, and a manifest with their sizes, times and digests.

Both lie in a folder outside checkpoint_dir, because any name in there that is not a number kills the trainer
(MathCanvas cc48f16, train/train_utils.py get_latest_ckpt):

    <kept>/0000040/        the save's files again, as hard links: they outlive the trainer's deletion of older .pt files
    <kept>/0000040.json    sizes, times and digests; written last, so it stands for a save that is on the disk
    <kept>/aside/          quarantine: moved checkpoints and foreign names, never deleted
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..core.errors import FleetError
from ..system import files, folders
from ..system.digests import of_file, sha256
from ..trainer import checkpoint as checkpoints
from ..trainer.checkpoint import Checkpoint

MARK = 1 << 16  # bytes at each end of a file for its mark; the end of a .pt file holds the checksums of all entries
MANIFEST_LIMIT = 1 << 24  # bytes; a real one has a few thousand
NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)
STEP_NAME = re.compile(r"\d{7,}")
Say = Callable[[str], None]
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A run's two folders, on one file system, because hard links and renames do not cross it."""

    checkpoints: str
    kept: str

    def folder(self, step: int) -> str:
        """The trainer's folder for a step."""
        return f"{self.checkpoints}/{step:07d}"

    def links(self, step: int) -> str:
        return f"{self.kept}/{step:07d}"

    def manifest(self, step: int) -> str:
        return f"{self.kept}/{step:07d}.json"

    def part(self, what: str, step: int) -> str:
        """A folder that is being made or unmade: what = new, back, old or fetch."""
        return f"{self.kept}/.{what}-{step:07d}"

    @property
    def quarantine(self) -> str:
        return f"{self.kept}/aside"


def kept_dir_of(results_dir: str, checkpoint_dir: str, kept_dir: str = "") -> str:
    """Folder of links and manifests: the user's, else in results_dir if the checkpoints lie there, else beside them.
    The unit's sandbox must make it writable in one mount with checkpoint_dir.
    """
    if kept_dir:
        return os.path.normpath(kept_dir)
    results, folder = os.path.normpath(results_dir), os.path.normpath(checkpoint_dir)
    if folder.startswith(results.rstrip("/") + "/"):
        return f"{results.rstrip('/')}/kept"
    return f"{folder}-kept"


def kept_steps(place: Place) -> list[int]:
    """Steps with links, rising."""
    try:
        names = folders.names(place.kept)
    except OSError:
        return []
    found = (int(name) for name in names if STEP_NAME.fullmatch(name) and os.path.isdir(f"{place.kept}/{name}"))
    return sorted(set(found))


def read_manifest(place: Place, step: int) -> Manifest | None:
    """The manifest of a step; None when it is missing or unreadable."""
    found = files.load(place.manifest(step), MANIFEST_LIMIT)
    sealed = found.get("files")
    return found if isinstance(sealed, dict) and all(map(_is_sound, sealed, sealed.values())) else None


def _is_sound(name: str, entry: Any) -> bool:
    """The kept folder is the account's, and root reads the named files: names of a save alone."""
    kinds = {"size": int, "mtime": int, "mark": str}
    known = checkpoints.is_of_a_save(name) and isinstance(entry, dict)
    return known and all(isinstance(entry.get(key), kinds[key]) for key in kinds)


def write_manifest(place: Place, manifest: Manifest) -> None:
    files.save(place.manifest(int(manifest["step"])), manifest)


def mark_of(path: str) -> dict[str, Any]:
    """{"size": bytes, "mtime": ns, "mark": digest of both ends}. Raises OSError unless it is a plain file."""
    source, size = files.open_plain(path)
    with source:
        begin = source.read(MARK)
        source.seek(max(0, size - MARK))
        mark = sha256(begin, source.read(MARK))
        return {"size": size, "mtime": os.fstat(source.fileno()).st_mtime_ns, "mark": mark}


def sha256_of(path: str, stop: Callable[[], bool] | None = None) -> str:
    """Digest of the whole content, or "" when stopped. Keeps the page cache free, because the training needs the
    memory."""
    return of_file(path, stop=stop, cold=True)


def judge(path: str, step: int, manifest: Mapping[str, Any] | None) -> Checkpoint:
    """The checkpoint, judged by the trainer's contract and by its seal."""
    found = checkpoints.examine(path, step)
    if not found.whole or manifest is None:
        return found
    flaws = changes(path, manifest)
    return replace(found, kind="incomplete", flaws=flaws) if flaws else found


def changes(path: str, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """How a folder's files differ from its seal.

    When all differ, it is another save of the same step, which the manifest does not describe.
    """
    sealed: Mapping[str, Mapping[str, Any]] = manifest["files"]
    now: dict[str, dict[str, Any]] = {}
    for name in sealed:
        with contextlib.suppress(OSError):
            now[name] = mark_of(f"{path}/{name}")
    touched = {name for name, was in sealed.items() if _stamp(now.get(name)) != _stamp(was)}
    if touched == set(sealed):
        return ()
    flaws = []
    for name, was in sealed.items():
        differs = now.get(name, {}).get("mark") != was["mark"]
        if not differs and name in touched and was.get("sha256"):
            differs = sha256_of(f"{path}/{name}") != was["sha256"]
        if differs:
            flaws.append(f"{name} is not what was sealed")
    return tuple(flaws)


def _stamp(entry: Mapping[str, Any] | None) -> tuple[Any, Any] | None:
    return (entry["size"], entry["mtime"]) if entry else None


def names_of(path: str) -> list[str]:
    """The trainer's own files in a checkpoint's folder."""
    return [name for name in folders.names(path) if checkpoints.is_of_a_save(name)]


def seal(place: Place, step: int, path: str, say: Say) -> Manifest:
    """Flush a whole save at `path` to the disk, link it in the kept folder, and write its manifest.

    The process may die at any point: the next call repeats the rest.
    """
    known = read_manifest(place, step)
    names = names_of(path)
    marks = {name: mark_of(f"{path}/{name}") for name in names}
    if known and _same(known, marks) and _linked(place.links(step), path, names, bool(known.get("links"))):
        return known
    for name in names:
        with contextlib.suppress(OSError):  # safetensors makes its files with 0600, whatever the umask is
            files.let_group_read(f"{path}/{name}")
        files.sync(f"{path}/{name}")
    files.sync_folder(path)
    folders.make(place.kept)
    links = _link_all(place, step, path, names, say)
    found = checkpoints.examine(path, step)
    old = known["files"] if known else {}
    for name, entry in marks.items():
        if _same_entry(old.get(name), entry) and old[name].get("sha256"):
            entry["sha256"] = old[name]["sha256"]
    made = {"step": step, "shards": found.shards, "size": found.size, "links": links, "files": marks}
    write_manifest(place, made)
    return made


def _same(known: Manifest, marks: Mapping[str, Mapping[str, Any]]) -> bool:
    return set(known["files"]) == set(marks) and all(_same_entry(known["files"][n], e) for n, e in marks.items())


def _same_entry(one: Mapping[str, Any] | None, other: Mapping[str, Any]) -> bool:
    return one is not None and all(one.get(key) == other[key] for key in ("size", "mtime", "mark"))


def _linked(links: str, path: str, names: list[str], wanted: bool) -> bool:
    return not wanted or all(same_file(f"{links}/{name}", f"{path}/{name}") for name in names)


def same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _link_all(place: Place, step: int, path: str, names: list[str], say: Say) -> bool:
    """Hard links of a save under the kept folder; False when the file system has none."""
    links, new = place.links(step), place.part("new", step)
    if all(same_file(f"{links}/{name}", f"{path}/{name}") for name in names):
        return True
    if os.path.isdir(links):
        out_of_the_way(place, links)  # of another save of this step
    folders.make(new)
    for name in os.listdir(new):
        if not same_file(f"{new}/{name}", f"{path}/{name}"):
            out_of_the_way(place, f"{new}/{name}")
    try:
        for name in names:
            if not os.path.lexists(f"{new}/{name}"):
                files.link(f"{path}/{name}", f"{new}/{name}")
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        say(f"step {step} is sealed, but not kept: hard links from {path} to {place.kept}: {error.strerror}")
        return False
    files.move(new, links)
    files.sync_folder(place.kept)
    return True


def out_of_the_way(place: Place, path: str, name: str = "") -> str:
    """Move a file or folder into quarantine under a free name, and return the new path.

    Raises FleetError when the folders are on different mounts.
    """
    folders.make(place.quarantine)
    base = name or os.path.basename(path).lstrip(".")
    number = 1
    while os.path.lexists(f"{place.quarantine}/{base}-{number}"):
        number += 1
    target = f"{place.quarantine}/{base}-{number}"
    try:
        files.move(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise FleetError(
            "cannot move a checkpoint into quarantine: the kept folder is on another file system",
            variable="training_kept_dir",
            found=f"{path} and {place.kept}",
            expected="both folders in one mount",
        ) from None
    files.sync_folder(os.path.dirname(path))
    files.sync_folder(place.quarantine)
    return target
