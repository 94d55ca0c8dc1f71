"""The topology of a run, as one of its hosts sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import wire

DERIVED = ("nnodes", "world_size", "num_shard", "num_replicate", "row_groups")


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
    checkpoint_bytes: int = 0  # that a node takes from the first one at most; 0 for not known
    new_secret: bool = False  # the hosts share no secret and need a new one
    own_shards: int = 0  # run_config_num_shard and run_config_num_replicate; 0 where the hosts decide
    own_replicas: int = 0

    @property
    def nnodes(self) -> int:
        return len(self.hosts)

    @property
    def world_size(self) -> int:
        return self.nnodes * self.nproc_per_node

    @property
    def num_shard(self) -> int:
        """Shards of one replica: the ranks of one node (contract: num_replicate × num_shard = world size)."""
        return self.own_shards or self.nproc_per_node

    @property
    def num_replicate(self) -> int:
        return self.own_replicas or self.nnodes

    @property
    def row_groups(self) -> int:
        """Row groups that feed each worker of each rank exactly one."""
        return self.world_size * max(1, self.num_workers)

    def as_dict(self) -> dict[str, Any]:
        """With the counts that follow from the fields."""
        return {**wire.to_dict(self), **{name: getattr(self, name) for name in DERIVED}}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Topology:
        """The inverse of as_dict(). Derived counts are not read. Raises wire.MalformedError."""
        return wire.from_dict(cls, raw)
