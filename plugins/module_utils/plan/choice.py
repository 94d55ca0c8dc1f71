"""training_profile: auto becomes a profile here, once, before anything else reads the settings. Pure.

A run that has checkpoints, or runs, stays with the profile of its script, since no other can go on with them. Adapters
and frozen layers stay streamed or not, and on as many GPUs, while that fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from ..core.settings import Settings
from ..core.topology import Topology
from ..findings.finding import Finding, finding
from ..machine.fit.choose import Candidate, Choice, choose
from ..machine.fit.findings import node_of, run_of
from ..machine.fit.judge import Node
from ..machine.fit.memory import Run
from ..machine.starts import ALIVE
from ..roles.run_config import resume
from ..roles.run_config.resume_findings import optimizer_of, profile_of
from ..trainer.flags import truth
from .observation import HostSeen

AUTO = "auto"


@dataclass(frozen=True)
class Kept:
    """What a run goes on with: from the script that made its checkpoints. `profile`: "" where that is not known."""

    host: str
    what: str  # the checkpoint, or the training that runs
    profile: str = ""
    ema: bool = False  # it has an EMA copy
    small: bool = False  # the optimizer's state is in 8 bits
    offload: bool = False
    ranks: int = 0  # on one host; 0: not known

    def same(self, one: Candidate) -> bool:
        return bool(one.settings["training_profile"] == self.profile)

    def suits(self, one: Candidate) -> bool:
        if self.profile == "full":
            small = one.run.optimizer == "adamw_8bit"
            return self.same(one) and (one.run.ema_copy, small) == (self.ema, self.small)
        return self.same(one) and one.run.offload == self.offload and self.ranks in (0, one.run.ranks)


def settle(
    members: Sequence[HostSeen], place: Mapping[str, Topology]
) -> tuple[list[HostSeen], Choice | None, list[Finding]]:
    """The members of a run with the settings that are meant, the choice where there was one, and what is wrong."""
    first = next((host.settings for host in members if "training_profile" in host.settings), members[0].settings)
    if first.get("training_profile") != AUTO:
        return list(members), next((host.choice for host in members if host.choice), None), []
    kept = next((found for found in map(_kept, members) if found), None)
    hosts = [
        (run_of(host.whole.machine, host.settings, place[host.name]), node_of(host.whole.machine, host.settings))
        for host in members
        if host.whole
    ]
    if not hosts:
        return _with(members, {"training_profile": "full"}), None, []
    own_rate = any(host.own_rate for host in members)
    ema, rate = float(first["run_config_ema"]), 0.0 if own_rate else float(first["run_config_lr"])
    made = choose(hosts, ema, rate) if kept is None else _going_on(kept, hosts, ema, rate)
    if made is None and kept:
        what = f"{kept.what} is of {kept.profile}, which auto cannot go on with here" if kept.profile else kept.what
        wanted = "a profile by name: the one that made it"
        wrong = finding("PROFILE_UNKNOWN", host=kept.host, found=what, expected=wanted, variable="training_profile")
        return _with(members, {"training_profile": "full"}), None, [wrong]
    known = all(host.whole.machine.sample_tokens for host in members if host.whole)
    if made and made.why and not (known or kept):
        made = replace(made, unsure="the longest sample is not known")
    return _with(members, made.settings if made else {}), made, []


def _going_on(kept: Kept, hosts: Sequence[tuple[Run, Node]], ema: float, rate: float) -> Choice | None:
    """The profile of the checkpoints, as it was where the user's other settings allow that."""
    reason = f"{kept.what} is of {kept.profile}"
    as_it_was = choose(hosts, ema, rate, kept.suits, reason, last=kept.profile == "full")
    return as_it_was or choose(hosts, ema, rate, kept.same, reason)


def _with(members: Sequence[HostSeen], settings: Mapping[str, Any]) -> list[HostSeen]:
    return [
        replace(host, settings=cast(Settings, {**host.settings, **settings}))
        if host.settings.get("training_profile") == AUTO
        else host
        for host in members
    ]


def _kept(host: HostSeen) -> Kept | None:
    seen = host.observation
    if seen is None:
        return None
    state, phase = seen.roles.run_config.resume, seen.roles.training.unit.phase
    if state.step is None and phase not in ALIVE:
        return None
    what = f"checkpoint {state.step}" if state.step is not None else "the training that runs"
    text = seen.roles.run_config.script.text
    given = resume.flags(text)
    if "ema" not in given:
        return Kept(host.name, state.path or what)
    copied = bool(re.fullmatch(r"[0-9.eE+-]+", given["ema"])) and float(given["ema"]) > 0
    small = optimizer_of(given) == "adamw_8bit"
    ranks = re.search(r"--nproc_per_node[= ](\d{1,4})\b", text)
    offload = truth(given.get("cpu_offload", "False"))
    return Kept(host.name, what, profile_of(given), copied, small, offload, int(ranks[1]) if ranks else 0)
