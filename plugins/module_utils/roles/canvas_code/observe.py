"""Role canvas_code: BAGEL-Canvas at a pinned commit, from git or as a copy of a folder on the controller.

git.py reads checkouts, copy.py copies, patched.py patches.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import Literal

from ...core.errors import FleetError
from ...core.masking import without_logins
from ...core.settings import Settings
from ...core.wire import from_record
from ...system import folders
from ...system import git as git_driver
from ...system.git import Git
from . import copy, patched, record
from . import git as git_folder
from .git import Ours
from .patched import Code

State = Literal["absent", "file", "checkout", "unfinished", "copy", "foreign"]


def is_commit_id(commit: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{40}", commit))


def folder_state(settings: Settings) -> State:
    """An empty folder is absent."""
    path = str(settings["canvas_code_checkout"])
    if not os.path.lexists(path):
        return "absent"
    if not os.path.isdir(path):
        return "file"
    if os.path.exists(os.path.join(path, ".git")):
        return "checkout"
    if record.load(settings, "copy"):
        return "copy"
    # The first note of an interrupted copy is ".<name>.canvas-fleet".
    return "foreign" if any(not name.endswith(".canvas-fleet") for name in folders.names(path)) else "absent"


@dataclass(frozen=True)
class Note:
    """Our note: the setting, its commit id, and the commit of an unfinished change."""

    asked: str = ""
    commit: str = ""
    pending: str = ""


@dataclass(frozen=True)
class Observation:
    """The folder of the code. `unfinished`: an interrupted clone."""

    path: str = ""
    state: State = "absent"
    git: bool = False  # there is git on the host
    edits: tuple[str, ...] = ()  # files that a person changed
    code: Code | None = None  # of a checkout or a copy
    # of a checkout
    record: Note | None = None
    commit: str = ""
    remote: str = ""
    in_the_way: tuple[str, ...] = ()  # edits in files that the wanted commit changes
    error: str = ""  # why the edits are not known
    # of a copy
    digest: str = ""
    pending: bool = False
    former: bool = False  # the note lies where the account can write, as version 0.1 wrote it


def observe(settings: Settings) -> Observation:
    """Read the folder without network and locks."""
    path = str(settings["canvas_code_checkout"])
    try:
        state = folder_state(settings)
    except OSError:
        state = "foreign"
    seen = Observation(path, state, bool(git_driver.find()), former=bool(record.misplaced(settings)))
    if state == "checkout":
        seen = _checkout(seen, settings)
    elif state == "copy":
        digest, pending, edits = copy.observe(settings)
        seen = replace(seen, digest=digest, pending=pending, edits=edits)
    return replace(seen, code=patched.observe(settings)) if seen.state in ("checkout", "copy") else seen


def _checkout(seen: Observation, settings: Settings) -> Observation:
    kept = record.load(settings, "git")
    seen = replace(seen, record=(from_record(Note, kept) or Note()) if kept else None)
    if not seen.git:
        return replace(seen, commit=git_folder.head(seen.path))
    git = Git(seen.path)
    commit = git.line("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    remote = without_logins(git.line("config", "--get", "remote.origin.url"))
    seen = replace(seen, commit=commit, remote=remote, state="checkout" if commit else "unfinished")
    if not commit or (seen.record and seen.record.pending):
        return seen  # what a killed git left behind would look like edits
    try:
        edits = git_folder.edits(git, Ours.of(settings))
        wanted = str(settings["canvas_code_commit"])
        blocked = set(edits) & git.touched(wanted) if edits and is_commit_id(wanted) and git.has(wanted) else set()
        return replace(seen, edits=tuple(edits), in_the_way=tuple(sorted(blocked)))
    except FleetError as error:
        return replace(seen, error=str(error))
