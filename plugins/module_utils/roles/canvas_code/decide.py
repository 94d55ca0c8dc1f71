"""The plan's part about the checkout. Runs on the controller, and in the role before it changes anything."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.masking import without_logins
from ...core.role_plan import RolePlan
from ...core.settings import Settings
from ...core.topology import Topology
from ...findings.finding import Finding, finding
from ...trainer import patch_table
from . import git, patch_findings
from .observe import Note, Observation, is_commit_id

NAMED = 5  # files that a sentence names before it counts


def decide(seen: Observation, settings: Settings, topology: Topology) -> RolePlan:
    """Compares with the commit, or with the controller's folder."""
    state, path = seen.state, seen.path
    if state == "file":
        bad = finding("PATH_IS_A_FILE", found=path, expected="a folder", variable="canvas_code_checkout")
        return RolePlan((f"{path} is a file",), (bad,))
    copied = settings["canvas_code_source"] == "controller"
    moving, findings = (_decide_copy if copied else _decide_git)(seen, settings)
    reasons = [*moving, *(["its record is one that the account can write"] if seen.former else [])]
    if moving or seen.code is None:
        findings += [*patch_findings.in_the_way(seen, settings), *patch_findings.of_bagel(settings)]
    else:
        commit = "" if copied else seen.commit
        reasons += patch_findings.reasons(seen.code, settings)
        findings += patch_findings.findings(seen.code, settings, commit)
    findings += patch_findings.not_averaged(None if moving else seen.code, settings, topology)
    version = str(settings["canvas_code_controller_digest"] if copied else seen.commit or "")
    shown = str(settings["canvas_code_commit"]) if moving and not copied else version
    values = {"version": shown, "moving": bool(moving)}
    summary = (
        f"{'copy' if copied else 'commit'} {version[:8]}{_patched(seen)}{_built_in(seen, settings)}{_edited(seen)}"
    )
    return RolePlan(tuple(reasons), tuple(findings), values, summary)


def _decide_git(seen: Observation, settings: Settings) -> tuple[list[str], list[Finding]]:
    asked = str(settings["canvas_code_commit"])
    findings = []
    if not is_commit_id(asked):
        expected = "40 hexadecimal digits"
        findings.append(finding("REVISION_NOT_PINNED", found=asked, expected=expected, variable="canvas_code_commit"))
    if seen.state == "absent":
        return [f"not there: {asked[:8]} of {without_logins(str(settings['canvas_code_repo']))}"], findings
    if seen.state in ("foreign", "copy") or not _is_repo(seen, settings):
        what = {"foreign": "files of no checkout", "copy": "a copy from the controller"}.get(seen.state)
        found = f"{seen.path}: {what or 'a checkout of ' + (seen.remote or 'another repository')}"
        expected = f"nothing, or a checkout of {without_logins(str(settings['canvas_code_repo']))}"
        variable = "canvas_code_checkout"
        return ["the folder holds something else"], [
            *findings,
            finding("CODE_FOLDER_FOREIGN", found=found, expected=expected, variable=variable),
        ]
    reasons = _commit_reasons(seen, asked)
    return reasons, [*findings, *_edit_findings(seen, settings, changing=bool(reasons))]


def _is_repo(seen: Observation, settings: Settings) -> bool:
    """True when the checkout has our note, the right remote, or the wanted commit."""
    if seen.record or not seen.git or seen.commit == settings["canvas_code_commit"]:
        return True
    return git.same_repo(seen.remote, str(settings["canvas_code_repo"]))


def _commit_reasons(seen: Observation, asked: str) -> list[str]:
    note = seen.record or Note()
    if seen.state == "unfinished":
        return ["an interrupted clone"]
    if note.pending:
        return [f"an interrupted change to {note.pending[:8]}"]
    commit = seen.commit
    if not is_commit_id(asked):
        # A branch is looked up once: it is followed when the setting changes, not when the branch moves.
        return [] if note.asked == asked and note.commit == commit else [f"{commit[:8]} instead of {asked}"]
    return [] if commit == asked else [f"commit {commit[:8]} instead of {asked[:8]}"]


def _decide_copy(seen: Observation, settings: Settings) -> tuple[list[str], list[Finding]]:
    wanted, folder = str(settings["canvas_code_controller_digest"]), str(settings["canvas_code_controller_path"])
    if not wanted:
        found = f"no folder with the trainer at {folder or 'canvas_code_controller_path, which is empty'} (controller)"
        expected = "a folder that holds train/pretrain_unified_navit.py, or BAGEL-Canvas with it"
        bad = finding("VARIABLE_INVALID", found=found, expected=expected, variable="canvas_code_controller_path")
        return ["there is nothing to copy"], [bad]
    if seen.state == "absent":
        return [f"not there: a copy of the controller's {folder}"], []
    if seen.state != "copy":
        found = f"{seen.path}: a {'checkout of git' if seen.state != 'foreign' else 'folder of other files'}"
        expected = "nothing, or an earlier copy from the controller"
        bad = finding("CODE_FOLDER_FOREIGN", found=found, expected=expected, variable="canvas_code_checkout")
        return ["the folder holds something else"], [bad]
    if seen.pending:
        reasons = ["an interrupted copy"]
    else:
        reasons = [] if seen.digest == wanted else [f"copy {seen.digest[:8]} instead of {wanted[:8]}"]
    return reasons, _edit_findings(seen, settings, changing=bool(reasons))


def _edit_findings(seen: Observation, settings: Settings, *, changing: bool) -> list[Finding]:
    if not seen.edits:
        return []
    variable = "canvas_code_local_edits"
    found = [finding("CODE_LOCAL_EDITS", found=named(seen.edits), expected="the files as committed", variable=variable)]
    blocked = seen.in_the_way
    if changing and blocked and settings["canvas_code_local_edits"] != "stash":
        found.append(edits_in_the_way(blocked, str(settings["canvas_code_commit"])[:8]))
    return found


def edits_in_the_way(paths: Sequence[str], version: str) -> Finding:
    """Changes made by hand in files that `version` changes."""
    expected = f"no edits in the files that {version} changes"
    variable = "canvas_code_local_edits"
    return finding("CODE_EDITS_IN_THE_WAY", found=named(paths), expected=expected, variable=variable)


def named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(paths[:NAMED]) + more


def _patched(seen: Observation) -> str:
    count = len(seen.code.patched) if seen.code else 0
    return f", {count} files patched" if count > 1 else ", 1 file patched" if count else ""


def _built_in(seen: Observation, settings: Settings) -> str:
    """What is asked for and needs no patch, because the code says that it has it."""
    there = seen.code.built_in if seen.code else ()
    every = patch_table.wanted(settings)
    names = [name for name in there if len(patch_table.wanted(settings, built_in=[name])) < len(every)]
    return f", built in: {named(names)}" if names else ""


def _edited(seen: Observation) -> str:
    count = len(seen.edits)
    return f", {count} files edited by hand" if count > 1 else ", 1 file edited by hand" if count else ""
