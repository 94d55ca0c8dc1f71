"""Checks that could not be made, and why: a plan without findings says nothing of these. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..core.role_plan import RolePlan
from ..core.settings import Settings
from ..machine.host import Host
from ..machine.starts import will_start

ON_HOST = ("checkout", "copy")  # states in which the files of the code can be compared


@dataclass(frozen=True)
class Skipped:
    """A skipped check and the reason."""

    check: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        return dict(vars(self))


def skipped(host: Host, code_state: str, settings: Settings, plans: Mapping[str, RolePlan]) -> Iterator[Skipped]:
    """Skipped checks of an observed host; `plans` by role."""
    if host.asked is None:
        yield Skipped("the clock", "the time of the controller is unknown")
    if settings["nvidia_gpu_expected"] and not host.driver:
        yield Skipped("memory, kind, errors and programs of the GPUs", "no driver answers yet")
    if not will_start(host.phase, settings):
        reason = f"the training is {host.phase}"
        yield Skipped("the run's port, its first host, and what a start would resume from", reason)
    if "canvas_code" in plans and code_state not in ON_HOST:
        yield Skipped("the files of the upstream code", "the code is not on the host yet")
    if "dataset" in plans and not plans["dataset"].values.get("inspected"):
        yield Skipped(
            "the rows of the data", "the file was not read yet; the role reads it before it makes the training copy"
        )


def unseen(codes: list[str], what: str = "everything on the host") -> tuple[Skipped, ...]:
    """Skipped checks of a host that was not fully observed or has invalid variables."""
    return (Skipped(what, ", ".join(dict.fromkeys(codes)) or "it was not observed"),)
