"""A host's part in a run: what it needs, which profiles fit, and the nearest that does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .disks import Disk
from .host_memory import host_phases
from .judge import Node, Verdict, judge_gpu, judge_host
from .memory import Run, gpu_phases
from .nearest import Change, nearest_hardware, nearest_setting, profiles


@dataclass(frozen=True)
class Fit:
    """One host's part in a run: what it needs, which profiles fit, and the nearest that does when this one does not."""

    run: Run
    node: Node
    gpu: Verdict | None  # None: no GPU is expected, or none was seen yet
    host: Verdict
    profiles: Mapping[str, tuple[Verdict | None, Verdict]]
    setting: Change | None = None
    hardware: Change | None = None
    disks: tuple[Disk, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)  # of the download and of one save

    @property
    def state(self) -> str:
        states = [verdict.state for verdict in (self.gpu, self.host) if verdict]
        return next((state for state in ("short", "tight") if state in states), "fits")

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, with each item of each phase in bytes."""
        return {
            "state": self.state,
            "model": {**vars(self.run.model), "parameters": self.run.model.parameters, "trained": self.run.trained},
            "gpu": self.gpu.as_dict() if self.gpu else None,
            "host": self.host.as_dict(),
            "phases": {
                "gpu": _plain(gpu_phases(self.run)) if self.run.gpu else {},
                "host": _plain(host_phases(self.run)),
            },
            "profiles": {
                name: {
                    "fits": all(verdict is None or verdict.state != "short" for verdict in pair),
                    "gpu_need": pair[0].need if pair[0] else None,
                    "gpu_missing": pair[0].missing if pair[0] else None,
                    "host_need": pair[1].need,
                    "host_missing": pair[1].missing,
                }
                for name, pair in self.profiles.items()
            },
            "disks": [disk.as_dict() for disk in self.disks],
            "seconds": dict(self.seconds),
            "nearest_setting": self.setting.as_dict() if self.setting else None,
            "nearest_hardware": self.hardware.as_dict() if self.hardware else None,
        }


def _plain(phases: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {name: dict(items) for name, items in phases.items()}


def assess(run: Run, node: Node) -> Fit:
    """Judge the run as configured and each profile. Search the nearest fit only when it does not fit."""

    def pair(one: Run) -> tuple[Verdict | None, Verdict]:
        judged = run.gpu and node.gpus > 0
        return (judge_gpu(one, node) if judged else None), judge_host(one, node)

    gpu, host = pair(run)
    found = Fit(run, node, gpu, host, {name: pair(one) for name, one in profiles(run).items()})
    if found.state == "fits":
        return found
    setting = nearest_setting(run, node)
    wider = setting is not None and setting.run.split > run.split
    hardware = nearest_hardware(run, node) if gpu and gpu.state != "fits" and not wider else None
    return replace(found, setting=setting, hardware=hardware)
