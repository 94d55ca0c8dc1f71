"""Leftovers: the code with edits by hand, patches, saved edits. Changes nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ...core.leftover import Leftover
from ...core.settings import Settings
from ...system import folders
from ...system.git import Git
from . import copy, patching, record
from . import git as git_folder
from .decide import named
from .git import Ours
from .observe import Note, Observation, observe

RECORDS: tuple[str, ...] = ("canvas_code",)
_MADE_ANEW = re.compile(r"(^|/)__pycache__/|\.pyc$")


def leftovers(settings: Settings) -> Iterator[Leftover]:
    path = str(settings["canvas_code_checkout"])
    seen = observe(settings)
    ours = seen.state == "copy" or bool(seen.state in ("checkout", "unfinished") and seen.record)
    patched = seen.code.patched if seen.code else ()
    if patched:
        where = f"{settings['canvas_code_dir']} (patches in {', '.join(patched)})"
        yield Leftover("canvas_code", where, take=lambda: patching.take_back(settings))
    if ours:
        yield Leftover("canvas_code", path, _missed(path, settings, seen), "edits")
    if os.path.isdir(f"{path}.canvas-fleet-part"):
        yield Leftover("canvas_code", f"{path}.canvas-fleet-part")
    for patch in sorted(Path(str(settings["fleet_state_dir"]), "canvas_code").glob("edits-*.patch")):
        yield Leftover("canvas_code", str(patch), "changes made by hand, saved before a change of commit", "edits")


def _missed(path: str, settings: Settings, seen: Observation) -> str:
    """What a person would lose with the code's folder; "" when nothing."""
    ours = Ours.of(settings)
    if seen.state == "copy":
        note = copy.record(settings)
        kept = {*note["files"], *note["pending"], record.FORMER["copy"]}
        added = [one for one in _files(path) if one not in kept and not ours.hides(one)]
        own = [*seen.edits, *added]
    else:
        noted = seen.record or Note()
        if noted.pending or seen.error:
            return f"its changes are unknown: {seen.error or 'a change of commit was interrupted'}"
        git = Git(path)
        if not git.binary:
            return "without git its changes are unknown"
        if git.line("for-each-ref", "refs/heads", "refs/stash"):
            return "it has branches or a stash of its own"
        if seen.commit and seen.commit != noted.commit:
            return f"it stands on another commit, {seen.commit[:8]}"
        own = [*seen.edits, *(one for one in git_folder.foreign_files(git, ours) if one not in seen.edits)]
    own = [one for one in own if not _MADE_ANEW.search(one)]
    return f"changed or added by hand: {named(own)}" if own else ""


def _files(folder: str) -> list[str]:
    found = (os.path.join(place, name) for place, _folders, names in folders.walk(folder) for name in names)
    return sorted(os.path.relpath(path, folder) for path in found)
