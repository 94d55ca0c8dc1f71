"""The plan's part about the trainer's files. Runs on the controller."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import asdict, replace

from ...core.errors import FleetError
from ...core.role_plan import RolePlan
from ...core.settings import Settings
from ...core.topology import Topology
from ...findings.finding import finding
from ...system.digests import sha256
from ...trainer import registration
from . import resume_findings, script
from .findings import judge
from .observe import File, Observation, entry
from .texts import SCRIPT_MODE, YAML_MODE, Fill

SHOWN_LINES = 12  # of a difference, in the plan; --diff of the role shows all of it


def decide(seen: Observation, settings: Settings, topology: Topology, fill: Fill) -> RolePlan:
    """Compare the files with the rendered texts, which go to the host unchanged."""
    findings = [*judge(seen, settings, topology), *resume_findings.judge(seen, settings, topology)]
    try:
        texts = script.texts(settings, topology, fill)
    except FleetError as error:
        bad = finding("VARIABLE_INVALID", found=f"{error.message}: {error.found}", expected=error.expected)
        unknown_flag = any(found.code == "FLAG_UNKNOWN" for found in findings)
        own = [] if unknown_flag else [replace(bad, variable=error.variable)]
        return RolePlan(("the script cannot be made from these settings",), (*findings, *own))
    reasons: list[str] = []
    diff: list[str] = []
    for file, text, mode in ((seen.script, texts.script, SCRIPT_MODE), (seen.yaml, texts.yaml, YAML_MODE)):
        reasons += _file_reasons(file, text, mode, str(settings["fleet_user"]))
        diff += _difference(file, text)
    reasons += _registration_reasons(seen, settings) + _key_reasons(seen.key, seen.former_keys, settings)
    values = {"texts": asdict(texts), "diff": diff}
    written = ((seen.script.path, texts.script), (seen.yaml.path, texts.yaml))
    digests = {path: sha256(text) for path, text in written}
    return RolePlan(tuple(reasons), tuple(findings), values, _summary(settings, topology), digests)


def _file_reasons(seen: File, text: str, mode: int, user: str) -> list[str]:
    name = os.path.basename(seen.path)
    if not seen.present:
        return [f"{name} is not there"]
    if seen.sha256 != sha256(text):
        if seen.ours:
            return [f"{name} has other settings: {_changed(seen.text, text)}"]
        form = "" if seen.dialect in ("", "loader") else ", in a form that the loader cannot read"
        return [f"{name} was made or changed by hand{form}; kept as {name}.user-{seen.sha256[:8]}"]
    if seen.mode != f"{mode:04o}" or seen.owner != user:
        return [f"{name} is {seen.mode} {seen.owner} instead of {mode:04o} {user}"]
    return []


def _changed(have: str, want: str) -> str:
    """The first changed value, for a table."""
    new = [line.strip(" \\") for line in want.splitlines() if line not in have.splitlines()]
    return f"{new[0]}" + (f" and {len(new) - 1} more" if len(new) > 1 else "") if new else "lines are gone"


def _difference(seen: File, text: str) -> list[str]:
    lines = difflib.unified_diff(seen.text.splitlines(), text.splitlines(), n=0, lineterm="")
    changed = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    return changed if len(changed) <= SHOWN_LINES else [*changed[:SHOWN_LINES], f"… {len(changed)} lines in all"]


def _registration_reasons(seen: Observation, settings: Settings) -> list[str]:
    found = seen.registration
    name = f"{settings['dataset_group']}/{settings['dataset_name']}"
    if found.state in ("no file", "absent"):
        return [f"dataset {name} is not registered"]
    if found.state in ("broken", "dialect"):
        return [f"dataset {name} cannot be registered in this form of the file"]
    wanted = entry(settings, seen.rows or 0)
    if found.state == "hand":
        return [f"dataset {name} is registered twice, by hand and by canvas-fleet"] if found.blocks else []
    have = found.entry or {}
    other = [key for key in registration.KEYS if have.get(key) != wanted[key]]
    if seen.rows is None:
        other = [key for key in other if key != "num_total_samples"]
    return [f"registration: {key} {have.get(key)} instead of {wanted[key]}" for key in other]


def _key_reasons(seen: File, former: Sequence[str], settings: Settings) -> list[str]:
    wanted = str(settings.get("run_config_wandb_api_key") or "")
    if former:
        return [f"the W&B key lies in {', '.join(former)}, which {settings['fleet_user']} can write"]
    if not wanted:
        return ["the W&B key is no longer set, so its file is removed"] if seen.present and seen.ours else []
    if not seen.present:
        return ["the W&B key file is not there"]
    if f"sha256:{seen.sha256}" != wanted:
        return ["the W&B key is another one"]
    if seen.mode != "0600" or seen.owner != "root":
        return [f"the W&B key file is {seen.mode} {seen.owner} instead of 0600 root"]
    return []


def _summary(settings: Settings, topology: Topology) -> str:
    steps, every = settings["run_config_total_steps"], settings["run_config_save_every"]
    ranks = (
        f"{topology.nnodes} × {topology.nproc_per_node} ranks"
        if topology.nnodes > 1
        else f"{topology.nproc_per_node} ranks"
    )
    return f"{steps} steps, saved every {every}, {ranks}"
