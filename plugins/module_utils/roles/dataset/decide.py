"""The plan's part about the data. Runs on the controller."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...core.masking import public
from ...core.role_plan import RolePlan
from ...core.settings import Settings, named
from ...core.topology import Topology
from ...findings.finding import Finding, finding
from ...system.digests import sha256
from .judge import judge
from .observe import Observation
from .record import Spec
from .rows import RULES


def origin(settings: Settings, kind: str) -> str:
    """Identifies where a file comes from; another origin means another file. Holds no login of a URL."""
    source, place = settings["dataset_source"], str(named(settings, f"dataset_{kind}"))
    if source == "url":
        return f"url {public(place)} {sha256(place)[:12]}"
    if source == "git":
        return f"git {public(str(settings['dataset_repo']))} {settings['dataset_commit']} {place}"
    return "controller"  # a path says nothing there; the content's digest does


def wanted_digest(settings: Settings, kind: str) -> str:
    """The sha256 from the user, or of the controller's file; empty when unknown."""
    return str(named(settings, f"dataset_{kind}_sha256")).lower()


def copy_spec(settings: Settings, train_sha256: str, world_size: int, num_workers: int) -> Spec:
    """The spec of the training copy; another spec needs another copy."""
    reshard = bool(settings.get("dataset_reshard", True))
    return {
        "from": train_sha256,
        "reshard": (world_size, max(1, num_workers)) if reshard else (),
        "drop_bad_rows": bool(settings.get("dataset_drop_bad_rows")),
    }


def decide(seen: Observation, settings: Settings, topology: Topology) -> RolePlan:
    """In sync when source, originals, training copy, row groups and info file are as wanted."""
    findings = list(_blocking(seen, settings))
    if findings:
        return RolePlan(reasons=("the data cannot be prepared",), findings=tuple(findings))
    copy_reasons = list(_copy(seen, settings, topology))
    former = ["the account can write its record"] if seen.former else []
    reasons = [*former, *_originals(seen, settings), *copy_reasons]
    inspection, copy = seen.known.inspection, seen.known.copy
    if inspection and inspection.rules != RULES:
        inspection, reasons = None, [*reasons, "the rows were checked by older rules"]
    inspected = inspection is not None and _same_source(seen, settings)
    if inspection and seen.known.train and inspected:
        found = judge(replace(inspection, path=seen.known.train.path), settings, topology)
        # notes name what the role will repair; afterwards they are dropped
        findings += [one for one in found if reasons or one.severity != "note"]
    return RolePlan(
        reasons=tuple(reasons),
        findings=tuple(findings),
        values={
            "rows": copy.rows if copy else 0,
            "digests": {kind: one.sha256 for kind, one in seen.known.originals.items() if one.sha256},
            "inspected": inspected,
            "longest_sample_tokens": inspection.longest.tokens if inspection else 0,
            "exchanged": exchanged(seen, settings, copy_reasons),
        },
        summary=f"{copy.rows} rows in {copy.row_groups} row groups" if copy and not reasons else "",
    )


def exchanged(seen: Observation, settings: Settings, reasons: list[str]) -> str:
    """Why a converge would replace the loader's file; "" when it stays or is missing."""
    if not seen.copy.present:
        return ""
    return "; ".join(reasons) or ("" if _same_source(seen, settings) else "the train file is another one")


def _blocking(seen: Observation, settings: Settings) -> Iterator[Finding]:
    if seen.misplaced:
        yield finding("VARIABLE_INVALID", **vars(seen.misplaced))
        return
    lacking = [name for name in _needed(settings) if not settings.get(name)]
    if lacking:
        yield finding("DATASET_MISSING", variable=lacking[0], found=f"{', '.join(lacking)} not set", expected="a value")
    yield from in_the_way(seen.blocked, seen.others, str(settings["dataset_train_dir"]))


def in_the_way(blocked: tuple[str, object] | None, others: Sequence[str], train_dir: str) -> Iterator[Finding]:
    """Findings about a file in the place of a folder: `blocked` is variable and file, or empty."""
    if blocked:
        variable, place = blocked
        yield finding("PATH_IS_A_FILE", variable=variable, found=f"{place} is no folder", expected="a folder")
    if others:
        yield finding(
            "DATASET_FOLDER_FOREIGN",
            variable="dataset_train_dir",
            found=f"{train_dir} holds {', '.join(others)} too",
            expected="the training copy alone",
        )


def _needed(settings: Settings) -> tuple[str, ...]:
    git = ("dataset_repo", "dataset_commit") if settings.get("dataset_source") == "git" else ()
    return ("dataset_source", "dataset_train", *git)


def _same_source(seen: Observation, settings: Settings) -> bool:
    """True when the file on the host is the one that is wanted."""
    known, wanted = seen.known.train, wanted_digest(settings, "train")
    return known is not None and known.origin == origin(settings, "train") and wanted in ("", known.sha256)


def _originals(seen: Observation, settings: Settings) -> Iterator[str]:
    recorded = seen.known.originals
    for kind, now in seen.originals.items():
        place = str(named(settings, f"dataset_{kind}"))
        known, wanted = recorded.get(kind), wanted_digest(settings, kind)
        source = f"{settings['dataset_source']}: {public(place) if '://' in place else place}"
        if not now.present:
            yield f"the {kind} file is not on the host ({source})"
        elif not now.recorded:
            yield f"a foreign {kind} file lies in its place and will be compared"
        elif not known or known.origin != origin(settings, kind):
            yield f"the {kind} file has another source now ({source})"
        elif wanted and known.sha256 != wanted:
            yield f"the {kind} file is {known.sha256[:12]}… instead of {wanted[:12]}…"
        elif not now.unchanged:
            yield f"the {kind} file was changed on the host"
    for kind in sorted(set(recorded) - set(seen.originals)):
        yield f"the {kind} file is no longer wanted (it is kept)"


def _copy(seen: Observation, settings: Settings, topology: Topology) -> Iterator[str]:
    known, train = seen.known.copy, seen.known.train
    if not seen.copy.present:
        yield "there is no training copy"
        return
    if not known:
        yield "a foreign training file lies in its place and will be compared"
        return
    if not seen.copy.unchanged:
        yield "the training copy was changed on the host"
    spec = copy_spec(settings, train.sha256 if train else "", topology.world_size, topology.num_workers)
    if known.spec.get("reshard") != spec["reshard"]:
        yield (
            f"the training copy has {known.row_groups} row groups for another number of workers; this run needs "
            f"{topology.row_groups}"
            if spec["reshard"]
            else "the training copy was re-sharded, and dataset_reshard is false now"
        )
    elif known.spec != spec:
        yield "the training copy was made from other data or with other settings"
    try:
        info = json.loads(seen.info)
    except (ValueError, RecursionError):
        info = None
    path = str(settings["dataset_train_file"])
    if info != {path: {"num_row_groups": known.row_groups, "num_rows": known.rows}}:
        yield "the info file does not match the training copy"
