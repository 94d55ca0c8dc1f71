"""Whole inventories through the real settings and the real plan, in this process, on hosts that do not exist.

A host's observation is what the roles' own observe() says of an empty machine, with the hardware of a described one:
recorded nvidia-smi, memory, disks, systemd. Nothing is contacted and nothing is written outside of one folder.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.canvas.fleet.plugins.action.plan import DECIDE, lost
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.machine import environment as surroundings
from ansible_collections.canvas.fleet.plugins.module_utils.machine import facts
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import HostSeen, Plan, make_plan
from ansible_collections.canvas.fleet.plugins.module_utils.plan.observation import understood
from ansible_collections.canvas.fleet.plugins.module_utils.plan.settings import read
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import smi as nvidia_smi
from ansible_collections.canvas.fleet.plugins.modules.host_info import OBSERVERS
from ansible_collections.canvas.fleet.plugins.plugin_utils.role_action import load_specs

GB = 10**9
SMI = Path(__file__).resolve().parents[1] / "fixtures/nvidia-smi/described"
Seen = dict[str, Any]


@dataclass(frozen=True)
class Host:
    """One line of an inventory: its variables, what is wrong with the machine, and why it did not answer.

    `gone` is what Ansible reported instead of an observation; empty for a host that is not in the play at all.
    """

    name: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    spoil: Callable[[Seen], None] | None = None
    gone: Mapping[str, Any] | None = None


def trusted(value: Any) -> Any:
    """Texts of an inventory are templates."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {name: trusted(inner) for name, inner in value.items()}
    return [trusted(inner) for inner in value] if isinstance(value, list) else value


def settings(host: Host) -> tuple[dict[str, Any], list[Any]]:
    """As the action plugin host_info does."""
    options, defaults = load_specs()
    variables = {"inventory_hostname": host.name, **{name: trusted(value) for name, value in host.variables.items()}}
    templar = Templar(DataLoader(), variables={**defaults, **variables})

    def template(raw: Any) -> Any:
        try:
            return templar.template(raw)
        except AnsibleError as error:
            raise ValueError(" ".join(str(error.message).split())) from error

    return read(options, defaults, variables, template)


@cache
def gpus(fixture: str = "8xh100-nvswitch.xml") -> Seen:
    """What the role nvidia would see of a recorded nvidia-smi."""
    found = nvidia_smi.parse((SMI / fixture).read_text())
    return {**wire.to_dict(found), "devices": [0x2330] * len(found.gpus), "nvswitches": 4}


LIVE = ("dataset", "weights", "run_config", "canvas_code", "conda_env")  # cheap, and they repeat the settings' paths


@cache
def _recorded(role: str) -> Seen:
    seen: Seen = wire.to_dict(OBSERVERS[role](settings(Host("recorded"))[0]))
    return seen


@cache
def _facts() -> Seen:
    found: Seen = wire.to_dict(facts.observe(settings(Host("recorded"))[0]))
    return found


def observe(told: Mapping[str, Any]) -> Seen:
    """A bare server with eight GPUs that lacks nothing it can be bought with, as its answer arrives."""
    roles = {
        role: wire.to_dict(OBSERVERS[role](dict(told))) if role in LIVE else copy.deepcopy(_recorded(role))
        for role in OBSERVERS
    }
    roles["nvidia"].update(copy.deepcopy(gpus()), loaded="NVRM version", toolkit=True)
    for gpu in roles["nvidia"]["gpus"]:
        gpu.update(name="NVIDIA H200", memory_bytes=141 * GB)
    roles["fleet_agent"]["manager"] = "apt"
    seen = copy.deepcopy(_facts())
    disk = {"at": "/srv", "device": 1, "free": 20_000 * GB, "total": 30_000 * GB}
    seen.update(
        init={"name": "systemd", "version": "252"},
        memory_bytes=2200 * GB,
        disks={name: dict(disk) for name in seen["disks"]},
        checkpoints_bytes=0,
        identity=str(told.get("fleet_address")),
    )
    plain = {name: {"noexec": False, "read_only": False} for name in surroundings.MOUNTED}
    shm = {"free": 1000 * GB, "total": 1000 * GB}
    around = {"shm": shm, "compiler": "/usr/bin/cc", "headers": None, "mounts": plain, "listening": [22], "master": ""}
    return {"facts": seen, "environment": around, "roles": roles}


def host_seen(host: Host) -> HostSeen:
    """As the two action plugins do together: a host whose variables are unsound is not contacted."""
    told, findings = settings(host)
    run = str(told.get("training_run") or host.name)
    if any(found.refuses for found in findings):
        return HostSeen(host.name, run, told, None, tuple(findings))
    gone = None if host.gone is None else lost(host.gone, in_play=bool(host.gone))
    if gone:
        return HostSeen(host.name, run, told, None, (*findings, gone))
    answer = observe(told)
    asked = (answer["facts"]["time"] - 1, answer["facts"]["time"] + 1)
    if host.spoil:
        host.spoil(answer)
    observation, wrong = understood(answer)
    return HostSeen(host.name, run, told, observation, (*findings, *wrong), asked)


def plan(hosts: Sequence[Host]) -> Plan:
    return make_plan([host_seen(host) for host in hosts], DECIDE)


def use_cache(folder: Path) -> None:
    """What was read of the controller's files is remembered there, not in the user's own cache."""
    os.environ["XDG_CACHE_HOME"] = str(folder)
