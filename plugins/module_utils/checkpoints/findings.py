"""What the guard will do or refuse at the next start, as findings of the plan. Pure."""

from __future__ import annotations

from ..core.errors import FleetError
from ..core.settings import Settings
from ..core.topology import Topology
from ..findings.finding import Finding, finding
from ..trainer.checkpoint import Checkpoint, Survey
from . import guard
from .examined import Seen
from .seal import Place, kept_dir_of

WHOLE = "all safetensors and optimizer files, scheduler.pt and data_status.pt, each complete and of one save"

ADAPTER = ("rank", "alpha", "targets", "connectors")


def start_findings(found: Survey, kept: Survey, settings: Settings, topology: Topology) -> list[Finding]:
    """Findings about the next start; none without auto_resume. `kept` is the survey of the kept folder.

    Nodes above the first take their checkpoint from the first, so they have none.
    """
    follows = bool(topology.node_rank and settings.get("training_peer_port"))
    if follows or not settings.get("run_config_auto_resume", True):
        return []
    place, findings = _place(settings), []
    try:
        guard.refuse_others(Seen(found), place)
    except FleetError as error:
        return [
            finding("CHECKPOINT_FOLDER_SHARED", variable=error.variable, found=error.found, expected=error.expected)
        ]
    if found.foreign:
        findings.append(
            finding(
                "CHECKPOINTS_FOREIGN_NAME",
                found=", ".join(f"{place.checkpoints}/{name}" for name in found.foreign[:5]),
                expected="folders named by a step alone",
                remedy=f"no action needed: the start moves it to {place.quarantine}; or move it where you want it",
            )
        )
    try:
        target = guard.decide(Seen(found, kept.checkpoints), place, _save_every(settings)).target
    except FleetError as error:
        return [*findings, finding("CHECKPOINTS_NONE_WHOLE", found=error.found, expected=error.expected)]
    newest = found.newest
    if newest and not (newest.whole or (target and target.step == newest.step)):
        findings.append(_incomplete(newest, target, place, topology))
    return [*findings, *_cannot_load(target, settings, topology)]


def _place(settings: Settings) -> Place:
    folder, kept = str(settings["training_checkpoint_dir"]), str(settings.get("training_kept_dir") or "")
    return Place(folder, kept_dir_of(str(settings.get("training_results_dir") or folder), folder, kept))


def _save_every(settings: Settings) -> int:
    return int(settings.get("run_config_save_every") or 0)


def _incomplete(newest: Checkpoint, target: Checkpoint | None, place: Place, topology: Topology) -> Finding:
    if topology.node_rank:
        then = f"copy the newest whole checkpoint of {topology.hosts[0]} to this host: each node resumes from its own"
        return finding("CHECKPOINT_INCOMPLETE", found=_flaws(newest), expected=WHOLE, remedy=then)
    then = f"the run resumes from step {target.step}" if target else "the run begins at step 0"
    return finding(
        "CHECKPOINT_INCOMPLETE",
        found=_flaws(newest),
        expected=WHOLE,
        remedy=f"no action needed: the start moves it to {place.quarantine}, and {then}",
    )


def _flaws(one: Checkpoint) -> str:
    return f"{one.path}: {'; '.join(one.flaws[:3])}"


def _cannot_load(target: Checkpoint | None, settings: Settings, topology: Topology) -> list[Finding]:
    shards = int(settings.get("run_config_num_shard") or topology.num_shard)
    try:
        guard.refuse_what_cannot_load(target, shards, str(settings.get("training_profile") or ""))
    except FleetError as error:
        return [finding(error.code, found=error.found, expected=error.expected, variable=error.variable)]
    return _adapter(target, settings)


def _adapter(target: Checkpoint | None, settings: Settings) -> list[Finding]:
    """The optimizer's state is of one rank and one set of layers; another alpha changes what was learned."""
    if target is None or target.adapter is None:
        return []
    was = target.adapter
    now = {name: settings.get(f"training_lora_{name}", getattr(was, name)) for name in ADAPTER}
    other = [name for name in ADAPTER if now[name] != getattr(was, name)]
    if not other:
        return []
    return [
        finding(
            "CHECKPOINT_OTHER_ADAPTER",
            found=f"{target.path}: {', '.join(f'{name} {getattr(was, name)}' for name in other)}",
            expected=", ".join(f"{name} {now[name]}" for name in other),
            variable=f"training_lora_{other[0]}",
        )
    ]
