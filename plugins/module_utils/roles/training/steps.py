"""The steps from a unit's state to the wanted one. Pure; unit_host.py does them."""

from __future__ import annotations

from dataclasses import astuple

from ...system.units import ACTIVE
from . import payload
from .have import Have
from .want import Want

AFTER = ("merge", "evaluate")  # steps that are nothing to wait for
STATES = ("started", "stopped", "restarted", "present", "absent")


def steps_to(have: Have, want: Want, state: str) -> list[str]:
    """The steps from `have` to `state`, ordered so that an interruption anywhere can be continued."""
    if state == "absent":
        return _removal(have)
    steps = _files(have, want)
    outdated = bool(have.older() or {"payload", "spec", "write"} & set(steps))
    if state in ("started", "restarted"):
        # All runs of a host share script and GPUs: the unit of an earlier run would start this one's once more.
        steps += [f"disable {name}" for name, active in have.others.items() if active in ("inactive", "failed")]
    if state in ("started", "restarted") and not have.enabled:
        steps.append("enable")
    if state == "stopped":
        steps += ["disable"] * have.enabled + ["stop"] * (have.running or have.active == "deactivating")
    if state == "restarted":
        steps += ["stop"] * (have.running or have.active == "deactivating") + ["unfinish"] * have.finished + ["start"]
    if state == "started" and not have.running and not have.finished:
        steps.append("start")
    if state == "started" and want.merges and _lacks_merge(have):
        steps.append("merge")
    if state == "started" and want.evaluates and _evaluates(have, steps):
        steps.append("evaluate")
    if state == "started" and have.running and outdated and want.settings["training_apply"] == "restart_after_save":
        steps += ["stop", "start"]
    return steps


def _lacks_merge(have: Have) -> bool:
    return have.finished and have.unmerged is not None and have.merging not in (*ACTIVE, "failed")


def _evaluates(have: Have, steps: list[str]) -> bool:
    """Of a finished run. After a merge its unit starts the evaluation."""
    waits = "merge" in steps or have.merging in ACTIVE
    lacks = have.finished and not have.running and have.unevaluated is not None
    return lacks and not waits and have.evaluating not in (*ACTIVE, "failed")


def _files(have: Have, want: Want) -> list[str]:
    """Inputs of the next start. A running training keeps those of its own start."""
    steps = []
    if not have.folders:
        steps.append("folders")
    if payload.payload()[0] not in have.payloads:
        steps.append("payload")
    if have.spec != want.spec():
        steps.append("spec")
    if (have.evaluation_spec or "") != want.evaluation_spec():
        steps.append("evaluation")  # a running training does not depend on it
    if want.has_peers and want.key_id and have.key_id != want.key_id:
        steps.append("secret")
    if (have.text, have.gpu, *(text or "" for text in (have.merge, have.evaluation))) != astuple(want.texts):
        steps.append("write")
    if "write" in steps or have.reload or have.load == "not-found":
        steps.append("reload")
    return steps


def _removal(have: Have) -> list[str]:
    steps = ["stop"] * (have.running or have.active == "deactivating") + ["disable"] * have.enabled
    if any(text is not None for text in (have.text, have.gpu, have.merge, have.evaluation)):
        steps.append("remove")
    if have.text is not None or have.load != "not-found":
        steps.append("reload")
    return steps + ["forget"] * have.record
