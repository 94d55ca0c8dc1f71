"""Patches of ours on the deployed code, as data: which file, which digest before and after, which edits.

A patch is applied to a file whose digest it knows and to no other, and taken back the same way, so it can neither
meet a person's edit nor leave a trace. Each edit is an anchor, which stands in the file exactly once, and what
replaces it. Patches of one file lie on each other in a fixed order; they are taken back from the top. Which settings
want which of them is in `patch_table`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..core.errors import FleetError
from ..system.digests import sha256


@dataclass(frozen=True)
class Edit:
    """One replacement. The anchor stands once in the file before, the replacement once in the file after."""

    anchor: str
    replacement: str


@dataclass(frozen=True)
class Patch:
    """The edits of one file; each version is the SHA-256 that the file has before, and the one that it has after."""

    setting: str  # whose patch it is, as messages name it
    path: str  # below canvas_code_dir
    versions: tuple[tuple[str, str], ...]
    edits: tuple[Edit, ...]
    name: str = ""  # in patch_digests

    @property
    def after(self) -> dict[str, str]:
        """SHA-256 before to SHA-256 after."""
        return dict(self.versions)

    @property
    def before(self) -> dict[str, str]:
        """SHA-256 after to SHA-256 before."""
        return {after: before for before, after in self.versions}


def field(name: str, kind: str, default: str, text: str) -> str:
    """A flag of the trainer, as a field of its arguments."""
    return f'    {name}: {kind} = field(default={default}, metadata={{"help": "{text}"}})  # canvas-fleet\n'


def standing(patches: Iterable[Patch], digest: str) -> tuple[tuple[Patch, ...], str]:
    """Patches in a file with that digest, and its digest without them."""
    found: list[Patch] = []
    for patch in reversed(tuple(patches)):
        if digest in patch.before:
            digest = patch.before[digest]
            found.insert(0, patch)
    return tuple(found), digest


def knows(patches: Iterable[Patch], digest: str) -> bool:
    """True when these patches can be put on a file of that digest, one after the other."""
    for patch in patches:
        if digest not in patch.after:
            return False
        digest = patch.after[digest]
    return True


def apply(patch: Patch, data: bytes) -> bytes:
    """The patched file. Raises FleetError for any file but the known ones, and when the result is not the known one."""
    before = sha256(data)
    if before in patch.before:
        return data
    if before not in patch.after:
        raise FleetError(f"{patch.path}: none of the files that this patch knows", found=f"SHA-256 {before}")
    for edit in patch.edits:
        data = _replaced(patch, data, edit.anchor, edit.replacement)
    return _checked(patch, data, patch.after[before])


def revert(patch: Patch, data: bytes) -> bytes:
    """The file as it was before; a file that is not patched by us is returned as it is."""
    after = sha256(data)
    if after not in patch.before:
        return data
    for edit in reversed(patch.edits):
        data = _replaced(patch, data, edit.replacement, edit.anchor)
    return _checked(patch, data, patch.before[after])


def stripped(patches: Iterable[Patch], data: bytes) -> bytes:
    """The file without our patches, whichever of these they are."""
    for patch in reversed(tuple(patches)):
        data = revert(patch, data)
    return data


def _replaced(patch: Patch, data: bytes, old: str, new: str) -> bytes:
    if data.count(old.encode()) != 1:
        raise FleetError(f"{patch.path}: the place of an edit is not there exactly once", found=repr(old[:60]))
    return data.replace(old.encode(), new.encode())


def _checked(patch: Patch, data: bytes, wanted: str) -> bytes:
    if sha256(data) != wanted:
        raise FleetError(f"{patch.path}: the patched file is not the expected one", found=sha256(data), expected=wanted)
    return data
