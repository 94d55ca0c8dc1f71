"""A training's unit as it should be: what the role was told, in one frozen value."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...checkpoints.seal import kept_dir_of

UNIT_DIR = "/etc/systemd/system"
NEW_KEY = "new"  # no fingerprint
# What the supervisor is told beside the places, under these names (supervisor_spec.py, supervisor_watch.Limits).
TOLD = (
    "unit",
    "run",
    "script",
    "working_dir",
    "results_dir",
    "checkpoint_dir",
    "shards",
    "save_every",
    "total_steps",
    "auto_resume",
    "weights_expected",
    "stop",
    "stop_seconds",
    "restarts",
    "keep_last",
    "keep_every",
    "peer_port",
    "peer_allow",
    "first_ce_warn",
    "first_ce_stop",
)


@dataclass(frozen=True)
class Want:
    """A training's unit as it should be. Paths are absolute, times are seconds."""

    unit: str  # without .service
    run: str
    user: str
    group: str
    script: str
    working_dir: str
    results_dir: str
    checkpoint_dir: str
    state_dir: str
    inputs: tuple[str, ...] = ()  # further files that a start reads, beside unit and script
    mounts: tuple[str, ...] = ()  # further folders that it reads, perhaps on disks of their own
    wandb_key_file: str = ""  # "" when W&B is off
    restarts: int = 3  # failures in a row, without a save between them
    stop: str = "after_save"
    stop_seconds: int = 1800
    apply: str = "next_start"
    kept_dir: str = ""
    nnodes: int = 1
    node_rank: int = 0
    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    master_addr: str = "localhost"
    peer_port: int = 29601
    peer_allow: tuple[str, ...] = ()
    share: bool = False  # the run's hosts see one checkpoint_dir
    shards: int = 1
    save_every: int = 0
    total_steps: int = 0
    auto_resume: bool = True
    weights_expected: bool = True
    load_seconds: float = 3600
    first_step_seconds: float = 1800
    save_seconds: float = 900
    step_seconds: float = 30
    first_ce_warn: float = 0
    first_ce_stop: float = 0
    keep_last: int = 0
    keep_every: int = 0
    checkpoint_bytes: int = 0  # that this node takes from the first one at most
    key_id: str = ""  # fingerprint of the run's secret; "" for the one that the host holds, NEW_KEY for a new one

    @property
    def path(self) -> str:
        return f"{UNIT_DIR}/{self.unit}.service"

    @property
    def gpu_path(self) -> str:
        return f"{UNIT_DIR}/{self.unit}-gpu.service"

    @property
    def record(self) -> str:
        """Root's folder of this unit: spec.json, started, ended, finished, kernel."""
        return f"{self.state_dir}/training/{self.unit}"

    @property
    def own(self) -> str:
        """The training user's folder in it (supervisor_record.py)."""
        return f"{self.record}/own"

    @property
    def has_peers(self) -> bool:
        """Do the run's nodes ask each other?"""
        return self.nnodes > 1 and self.peer_port > 0

    @property
    def secret_path(self) -> str:
        """Root's file with the secret of the run; systemd hands it to the supervisor."""
        return f"{self.record}/peer-secret"

    @property
    def spec_path(self) -> str:
        return f"{self.record}/spec.json"

    @property
    def payloads(self) -> str:
        return f"{self.state_dir}/supervisor"

    @property
    def errors(self) -> str:
        return f"{self.own}/errors.log"

    @property
    def log(self) -> str:
        return f"{self.results_dir}/log.txt"

    @property
    def kept(self) -> str:
        return kept_dir_of(self.results_dir, self.checkpoint_dir, self.kept_dir)

    @property
    def watched(self) -> tuple[str, ...]:
        """Files whose content a start depends on."""
        return (self.path, self.spec_path, self.script, *self.inputs)

    @property
    def needed(self) -> tuple[str, ...]:
        """Paths whose file systems must be there before a start."""
        own = (self.results_dir, self.checkpoint_dir, self.kept, self.state_dir)
        return (*own, self.working_dir, self.script, *self.mounts)

    @property
    def writable(self) -> tuple[str, ...]:
        """Folders that the training may write to. Hard links do not cross mounts, so that checkpoints and what is kept
        of them come into one where they have a folder in common."""
        common = os.path.commonpath([self.checkpoint_dir, self.kept])
        folders = (self.results_dir, *((common,) if common != "/" else (self.checkpoint_dir, self.kept)))
        return (*(one for one in dict.fromkeys(folders) if not _inside(one, folders)), self.own)

    def spec(self) -> str:
        """The text of spec.json."""
        limits = {
            "load": self.load_seconds,
            "first_step": self.first_step_seconds,
            "save": self.save_seconds,
            "floor": self.step_seconds,
        }
        told: dict[str, Any] = {name: getattr(self, name) for name in TOLD}
        nodes = {
            "nnodes": self.nnodes,
            "node_rank": self.node_rank,
            "hosts": list(self.hosts),
            "addresses": list(self.addresses),
            "master_addr": self.master_addr,
            "share": self.share,
            "checkpoint_bytes": self.checkpoint_bytes,
        }
        places = {"record": self.record, "log": self.log, "kept_dir": self.kept}
        values = {**told, **nodes, **places, "limits": limits}
        return json.dumps(values, indent=1, sort_keys=True) + "\n"


def of_topology(topology: Mapping[str, Any], num_shard: int) -> dict[str, Any]:
    """What a run's topology (Topology.as_dict) says of a unit. `num_shard`: the user's, 0 for its own."""
    return {
        "nnodes": int(topology.get("nnodes", 1)),
        "node_rank": int(topology.get("node_rank", 0)),
        "hosts": tuple(str(host) for host in topology.get("hosts", ())),
        "addresses": tuple(str(one) for one in topology.get("addresses", ())),
        "master_addr": str(topology.get("master_addr", "localhost")),
        "shards": int(num_shard or topology.get("num_shard", 1)),
        "checkpoint_bytes": int(topology.get("checkpoint_bytes", 0)),
        "key_id": NEW_KEY if topology.get("new_secret") else "",
    }


def _inside(path: str, folders: tuple[str, ...]) -> bool:
    return any(path != one and path.startswith(one.rstrip("/") + "/") for one in folders)
