"""Bring a checkout to its commit. Edits by hand are kept. The next run repairs an interrupted one.

A first clone is made in another folder and renamed. A change of commit is noted (`pending`) before git touches the work
tree, so leftovers of a killed git do not count as edits by hand.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from ...core.errors import FleetError, raise_for
from ...core.masking import without_logins
from ...core.role_plan import RolePlan
from ...core.settings import Settings
from ...core.topology import Topology
from ...system import files, folders, managed_files, ownership
from ...system import git as git_driver
from ...system.digests import sha256
from ...system.git import Git
from ...trainer import registration
from . import git as git_folder
from . import patching, record
from .decide import decide, edits_in_the_way
from .git import Ours
from .observe import Observation, is_commit_id, observe

_NOBODY = Topology("", ("",), 0, 1, 0, "localhost", 0)  # of one rank: what several need, the plan says


def refuse(seen: Observation, settings: Settings) -> RolePlan:
    """Changes and their reasons. Raises FleetError for a foreign folder."""
    plan = decide(seen, settings, _NOBODY)
    raise_for(plan.findings)
    return plan


def converge(settings: Settings, *, check: bool) -> dict[str, Any]:
    """Returns {"changed", "commit", "before", "edits", "stashed", "patches"}; in check mode without the network."""
    if not check:
        record.move(settings)
    seen = observe(settings)
    plan = refuse(seen, settings)
    before = seen.commit
    report = {"changed": not plan.in_sync, "before": before, "commit": before, "edits": list(seen.edits), "stashed": ""}
    if plan.in_sync:
        return {**report, "patches": []}
    if check:
        patches = [] if plan.values["moving"] else patching.converge(settings, check=True)
        return {**report, "commit": plan.values["version"], "patches": patches}
    if plan.values["moving"]:
        report["stashed"] = _move(seen, settings)
    patches = patching.converge(settings, check=False)
    after = observe(settings)
    left = refuse(after, settings)
    if not left.in_sync:
        raise FleetError("the checkout is not at the wanted commit", found="; ".join(left.reasons))
    return {**report, "commit": after.commit, "edits": list(after.edits), "patches": patches}


def _move(seen: Observation, settings: Settings) -> str:
    """Bring the checkout to its commit. Returns the patch file with saved edits, or ""."""
    if not git_driver.find():
        raise FleetError(
            "git is not installed", found="no git on the host", remedy="run the role fleet_agent: it installs git"
        )
    path = str(settings["canvas_code_checkout"])
    if seen.state in ("absent", "unfinished"):
        _clone(path, settings, unfinished=seen.state == "unfinished")
        return ""
    return _change(path, settings, list(seen.edits))


def _clone(path: str, settings: Settings, *, unfinished: bool) -> None:
    """Clone into another folder, then rename: a checkout is whole or absent."""
    owner = ownership.owner_of(str(settings["fleet_user"]), str(settings["fleet_group"]))
    part = path if unfinished else f"{path}.canvas-fleet-part"
    managed_files.make_folders(part, owner, 0o755)
    git = Git(part, variable="canvas_code_repo")
    git("init", "--quiet")
    with _locked(part) as lock:
        _remove_stale_locks(part)
        _set_remote(git, str(settings["canvas_code_repo"]))
        commit = _fetch(git, str(settings["canvas_code_commit"]), shallow=True, lock=lock)
        # In a folder that was not ours alone git refuses to overwrite; in the part beside it nothing can be lost.
        force = "--no-overwrite-ignore" if unfinished else "--force"
        git("checkout", "--quiet", force, "--detach", commit, lock=lock)
        _note(settings, commit)
    if part != path:
        if os.path.isdir(path):
            folders.remove_empty(path)  # or folder_state would have said so
        files.move(part, path)


def _change(path: str, settings: Settings, edited: list[str]) -> str:
    """Change the commit of a checkout. Returns the patch file with saved edits, or ""."""
    git, ours, stashed = Git(path, variable="canvas_code_repo"), Ours.of(settings), ""
    with _locked(path) as lock:
        note = record.load(settings, "git")
        if note.get("pending"):
            _remove_stale_locks(path)
            _undo_cut(git, str(note["pending"]), ours)
            edited = git_folder.edits(git, ours)
        if note or not git.has(str(settings["canvas_code_commit"])):
            _set_remote(git, str(settings["canvas_code_repo"]))
        shallow = os.path.exists(os.path.join(path, ".git", "shallow"))
        commit = _fetch(git, str(settings["canvas_code_commit"]), shallow=shallow, lock=lock)
        touched = git.touched(commit)
        blocked = sorted(touched & set(edited))
        if blocked:
            stashed = _stash(git, blocked, settings, lock)
        registered = _own_block(git, settings, ours)
        _note(settings, str(note.get("commit") or ""), pending=commit)
        patching.take_back(settings)
        if registered and ours.registration in touched:
            git("checkout", "--quiet", "HEAD", "--", ours.registration, lock=lock)
        git("checkout", "--quiet", "--no-overwrite-ignore", "--detach", commit, lock=lock)
        if registered:
            _register_again(git, settings, ours, registered)
        _note(settings, commit)
    return stashed


def _fetch(git: Git, asked: str, *, shallow: bool, lock: int) -> str:
    """The wanted commit, fetched if it is missing. Raises FleetError when the repository lacks it.

    shallow: fetch only the commit if the server allows it; a full clone never becomes shallow.
    """
    if is_commit_id(asked) and git.has(asked):
        return asked
    if shallow:
        with contextlib.suppress(FleetError):  # a server may refuse single commits, and a short id is no ref
            git("fetch", "--quiet", "--depth=1", "--no-tags", "origin", asked, lock=lock)
            return git.line("rev-parse", "--verify", "FETCH_HEAD^{commit}")
    deepen = ("--unshallow",) if os.path.exists(os.path.join(git.folder, ".git", "shallow")) else ()
    try:
        git("fetch", "--quiet", "--tags", *deepen, "origin", "+refs/heads/*:refs/remotes/origin/*", lock=lock)
    except FleetError as error:
        raise FleetError(
            "the repository cannot be fetched",
            variable="canvas_code_repo",
            found=error.found,
            expected="a repository that this host can reach",
        ) from error
    for name in (f"refs/remotes/origin/{asked}", f"refs/tags/{asked}", asked):
        commit = git.line("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if commit:
            return commit
    raise FleetError(
        "the repository has no such commit",
        variable="canvas_code_commit",
        found=f"commit {asked}",
        expected=f"a commit of {git.line('config', '--get', 'remote.origin.url')}",
    )


def _set_remote(git: Git, url: str) -> None:
    known = git.line("config", "--get", "remote.origin.url")
    if known != url:
        git("remote", *(("set-url", "origin", url) if known else ("add", "origin", url)))


def _stash(git: Git, paths: list[str], settings: Settings, lock: int) -> str:
    """Save edits twice, as a patch file and in git's stash, then remove them from the work tree."""
    if settings["canvas_code_local_edits"] != "stash":
        raise FleetError.of(edits_in_the_way(paths, str(settings["canvas_code_commit"])[:8]))
    git("add", "--intent-to-add", "--", *paths, lock=lock)
    patch = git("diff", "--binary", "HEAD", "--", *paths)
    folder = os.path.join(str(settings["fleet_state_dir"]), "canvas_code")
    place = os.path.join(folder, f"edits-{sha256(patch)[:12]}.patch")
    managed_files.make_folders(folder, ownership.Owner(), 0o755)
    files.write(place, patch)
    who = ("-c", "user.name=canvas-fleet", "-c", "user.email=canvas-fleet@localhost")
    git("reset", "--quiet", "--", *paths, lock=lock)
    git(*who, "stash", "push", "--quiet", "--include-untracked", "-m", "kept by canvas-fleet", "--", *paths, lock=lock)
    return place


def _own_block(git: Git, settings: Settings, ours: Ours) -> bytes | None:
    """dataset_info.py, if only our block differs."""
    have = git.read(ours.registration)
    if have is None or not registration.block(have):
        return None
    if not ours.alone(ours.registration, have, git.blob("HEAD", ours.registration)):
        return None
    found = registration.lookup(have, str(settings["dataset_group"]), str(settings["dataset_name"]))
    return have if found.state == "ours" else None


def _register_again(git: Git, settings: Settings, ours: Ours, registered: bytes) -> None:
    """Write our block into the new commit's file. If it does not fit, run_config reports why."""
    path = os.path.join(git.folder, ours.registration)
    with contextlib.suppress(FleetError):
        source = managed_files.read(path)
        if source is not None:
            place = (str(settings["dataset_group"]), str(settings["dataset_name"]))
            files.rewrite(path, registration.move(registered, source, *place))


def _undo_cut(git: Git, pending: str, ours: Ours) -> None:
    """Undo a killed checkout of `pending`: files of that commit that are whole, cut short or removed.

    Edits by hand in such files were refused before, so none is lost.
    """
    if not git.has(pending):
        return
    touched = git.touched(pending)
    for _unused, path in git.status():
        want, have = git.blob(pending, path) or b"", git.read(path)
        if path not in touched or ours.hides(path) or not want.startswith(have or b""):
            continue
        if git.blob("HEAD", path) is not None:
            git("checkout", "--quiet", "HEAD", "--", path)
            continue
        git("rm", "--quiet", "--cached", "--ignore-unmatch", "--", path)
        if have is not None:
            files.remove(os.path.join(git.folder, path))


def _note(settings: Settings, commit: str, pending: str = "") -> None:
    asked = str(settings["canvas_code_commit"]) if not pending else ""
    repo = without_logins(str(settings["canvas_code_repo"]))
    record.save(settings, "git", {"repo": repo, "asked": asked, "commit": commit, "pending": pending})


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int]:
    """A lock for one run at a time. Git inherits it, so a git that outlives its killed parent still holds it."""
    with contextlib.ExitStack() as held:
        try:
            handle = held.enter_context(files.locked(os.path.join(path, ".git", "canvas-fleet.lock"), wait=False))
        except BlockingIOError as error:
            raise FleetError(
                "another process changes this checkout", found=path, remedy="wait for it, then try again"
            ) from error
        yield handle


def _remove_stale_locks(path: str) -> None:
    """Remove locks and partial packs of a killed git. Our lock excludes other runs of this code."""
    top = os.path.join(path, ".git")
    for name in ("index.lock", "shallow.lock", "HEAD.lock", "config.lock", "packed-refs.lock"):
        files.remove(os.path.join(top, name))
    packs = os.path.join(top, "objects", "pack")
    for name in os.listdir(packs) if os.path.isdir(packs) else ():
        if name.startswith("tmp_"):
            with contextlib.suppress(OSError):
                files.remove(os.path.join(packs, name))
