"""The topology of a run, as one of its hosts sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
            "checkpoint_bytes": self.checkpoint_bytes,
            "new_secret": self.new_secret,
            "own_shards": self.own_shards,
            "own_replicas": self.own_replicas,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Topology:
        """The inverse of as_dict(). Derived counts are not read."""
        return cls(
            run=str(raw["run"]),
            hosts=tuple(map(str, raw["hosts"])),
            node_rank=int(raw["node_rank"]),
            nproc_per_node=int(raw["nproc_per_node"]),
            num_workers=int(raw["num_workers"]),
            master_addr=str(raw["master_addr"]),
            master_port=int(raw["master_port"]),
            addresses=tuple(map(str, raw.get("addresses") or ())),
            checkpoint_bytes=int(raw.get("checkpoint_bytes") or 0),
            new_secret=bool(raw.get("new_secret")),
            own_shards=int(raw.get("own_shards") or 0),
            own_replicas=int(raw.get("own_replicas") or 0),
        )
