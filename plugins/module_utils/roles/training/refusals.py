"""Why a training may not be started on a host, beside what its checkpoints say. Pure."""

from __future__ import annotations

from ...findings.finding import Finding, finding
from .have import Have
from .want import Want

OURS = "# Managed by canvas-fleet"  # how the text of each of our units begins
ALIVE = ("active", "activating", "deactivating", "reloading")


def foreign(have: Have, want: Want) -> list[Finding]:
    """A foreign unit with this name or its helper's name; it is never written, started or removed."""
    texts = {want.path: have.text, want.gpu_path: have.gpu}
    texts.update({want.merge_path: have.merge, want.evaluation_path: have.evaluation})
    found = [f"{path}, which canvas-fleet did not write" for path, text in texts.items() if text and OURS not in text]
    if have.load == "masked":
        found.append(f"{want.unit} is masked")
    elif have.fragment not in ("", want.path):
        found.append(f"{want.unit} of {have.fragment}")
    expected = "no such unit, or one of canvas-fleet"
    return [finding("UNIT_FOREIGN", variable="training_unit", found=found[0], expected=expected)] if found else []


def refusals(have: Have, want: Want) -> list[Finding]:
    """Findings that would end a start; used when a start is among the steps."""
    busy = [name for name, state in have.others.items() if state in ALIVE]
    found = []
    if busy:
        found.append(
            finding(
                "TRAINING_OF_ANOTHER_RUN",
                variable="training_run",
                found=", ".join(f"{name} is {have.others[name]}" for name in busy),
                expected=f"{want.unit} alone",
                remedy=f"stop it: systemctl disable --now {' '.join(busy)} on the host, which waits for its next save",
            )
        )
    for path, real in have.strays.items():
        variable = "training_checkpoint_dir" if path == want.checkpoint_dir else "training_kept_dir"
        found.append(
            finding(
                "CHECKPOINTS_LINKED_AWAY",
                variable=variable,
                found=f"{path} is a link to {real}, or lies behind one",
                expected=f"a folder that really lies below {' or '.join(want.writable[:-1])}",
                remedy=f"{variable}: {real}",
            )
        )
    return found
