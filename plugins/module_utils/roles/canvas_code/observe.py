"""Role canvas_code: BAGEL-Canvas at a pinned commit, from git or as a copy of a folder on the controller.

`git_folder` knows checkouts, `code_copy` knows copies, `code_apply` changes either, `code_patches` knows what
training_profile puts into them; here all of it is looked at, in canvas_code_plan it is judged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from ...core.errors import FleetError
from ...system import git as git_driver
from ...system.git import Git, without_secrets
from . import copy, patching
from . import git as git_folder
from .git import Ours


def pinned(commit: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{40}", commit))


def folder_state(path: str) -> str:
    """absent (or empty), file, checkout, copy, or foreign."""
    if not os.path.lexists(path):
        return "absent"
    if not os.path.isdir(path):
        return "file"
    if os.path.exists(os.path.join(path, ".git")):
        return "checkout"
    if os.path.exists(copy.record_path(path)):
        return "copy"
    # The first note of a copy that was cut off lies aside as ".<name>.canvas-fleet".
    return "foreign" if any(not name.endswith(".canvas-fleet") for name in os.listdir(path)) else "absent"


def observe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the folder: no network, no locks."""
    path = str(settings["canvas_code_checkout"])
    try:
        state = folder_state(path)
    except OSError:
        state = "foreign"
    seen: dict[str, Any] = {"path": path, "state": state, "git": bool(git_driver.find()), "edits": []}
    if state == "checkout":
        seen.update(_checkout(path, settings, seen["git"]))
    elif state == "copy":
        seen.update(copy.observe(path, Ours.of(settings)))
    if seen["state"] in ("checkout", "copy"):
        seen["code"] = patching.observe(settings)
    return seen


def _checkout(path: str, settings: Mapping[str, Any], has_git: bool) -> dict[str, Any]:
    note = git_folder.record(path)
    found: dict[str, Any] = {"record": note, "commit": git_folder.head(path), "remote": "", "in_the_way": []}
    if not has_git:
        return found
    git = Git(path)
    found["commit"] = git.line("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    found["remote"] = without_secrets(git.line("config", "--get", "remote.origin.url"))
    if not found["commit"]:
        return {**found, "state": "unfinished"}
    if note.get("pending"):
        return found  # what a killed git left behind would look like edits
    try:
        found["edits"] = git_folder.edits(git, Ours.of(settings))
        wanted = str(settings["canvas_code_commit"])
        if found["edits"] and pinned(wanted) and git.has(wanted):
            found["in_the_way"] = sorted(set(found["edits"]) & git.touched(wanted))
    except FleetError as error:
        found["error"] = str(error)
    return found
