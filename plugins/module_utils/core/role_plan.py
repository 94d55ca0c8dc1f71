"""The one form that every role has: what a run looks like, and what a role wants to change.

A role's core (module_utils/<role>.py) offers two functions:

    observe(settings) -> dict        on the host, reads only, standard library only, Python 3.9 and newer;
                                     an absent thing is reported as absent, never raised
    decide(seen, settings, topology) -> RolePlan
                                     pure, runs on the controller; `seen` is what observe() returned

`settings` is one flat mapping of every role's variables for this host, typed by the argument specs.
A secret stands in it only as "sha256:<hex>" of its value, or "" when it is not set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..findings.finding import Finding

ROLES = ("fleet_agent", "nvidia", "conda_env", "canvas_code", "dataset", "weights", "run_config", "training")


@dataclass(frozen=True)
class Topology:
    """One host's place in its run. Counts of processes, not of bytes."""

    run: str
    hosts: tuple[str, ...]  # in rank order; the first is the master
    node_rank: int
    nproc_per_node: int
    num_workers: int  # DataLoader workers per rank
    master_addr: str
    master_port: int
    addresses: tuple[str, ...] = ()  # where the hosts reach each other, in the same order

    @property
    def nnodes(self) -> int:
        return len(self.hosts)

    @property
    def world_size(self) -> int:
        return self.nnodes * self.nproc_per_node

    @property
    def num_shard(self) -> int:
        """Shards of one replica: the ranks of one node (contract: num_replicate × num_shard = world size)."""
        return self.nproc_per_node

    @property
    def num_replicate(self) -> int:
        return self.nnodes

    @property
    def row_groups(self) -> int:
        """Row groups that feed each worker of each rank exactly one."""
        return self.world_size * max(1, self.num_workers)

    def as_dict(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "hosts": list(self.hosts),
            "node_rank": self.node_rank,
            "nnodes": self.nnodes,
            "nproc_per_node": self.nproc_per_node,
            "world_size": self.world_size,
            "num_shard": self.num_shard,
            "num_replicate": self.num_replicate,
            "num_workers": self.num_workers,
            "row_groups": self.row_groups,
            "master_addr": self.master_addr,
            "master_port": self.master_port,
            "addresses": list(self.addresses),
        }


@dataclass(frozen=True)
class RolePlan:
    """What a role would do on one host. No reasons: in sync, and the role is skipped whole."""

    reasons: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)  # what the role takes from the plan (texts, digests)
    summary: str = ""  # a few words for the table when in sync ("9 files, 29.2 GB, revision 1a2b3c4")

    @property
    def in_sync(self) -> bool:
        return not self.reasons
