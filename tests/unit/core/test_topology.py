"""The place of a host in its run: counts that follow from it, and the way over the wire."""

from __future__ import annotations

import json

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology

RUN = Topology("bolt", ("b0", "b1"), 1, 8, 4, "10.0.0.1", 29501, ("10.0.0.1", "10.0.0.2"), 3 << 30, new_secret=True)


@pytest.mark.parametrize(
    ("run", "counts"),
    [
        pytest.param(RUN, (2, 16, 8, 2, 64), id="two hosts of eight: a copy on each"),
        pytest.param(Topology("a", ("a",), 0, 1, 0, "localhost", 1), (1, 1, 1, 1, 1), id="no workers: the rank loads"),
        pytest.param(
            Topology("a", ("a", "b"), 0, 8, 1, "a", 1, own_shards=16, own_replicas=1), (2, 16, 16, 1, 16), id="by hand"
        ),
    ],
)
def test_counts(run: Topology, counts: tuple[int, ...]) -> None:
    assert (run.nnodes, run.world_size, run.num_shard, run.num_replicate, run.row_groups) == counts


def test_it_comes_back_as_it_was_and_its_counts_are_told() -> None:
    data = json.loads(json.dumps(RUN.as_dict()))
    assert Topology.from_dict(data) == RUN
    told = ("nnodes", "world_size", "num_shard", "num_replicate", "row_groups")
    assert [data[name] for name in told] == [2, 16, 8, 2, 64]
    assert Topology.from_dict({**data, "world_size": 99}) == RUN, "counts are never believed"


def test_what_the_version_before_did_not_know_takes_its_default() -> None:
    old = {name: value for name, value in RUN.as_dict().items() if name not in ("own_shards", "new_secret")}
    assert (Topology.from_dict(old).own_shards, Topology.from_dict(old).new_secret) == (0, False)


@pytest.mark.parametrize("name", ["run", "hosts", "node_rank", "nproc_per_node", "num_workers", "master_port"])
def test_a_place_without_this_is_none(name: str) -> None:
    with pytest.raises(wire.MalformedError, match=name):
        Topology.from_dict({key: value for key, value in RUN.as_dict().items() if key != name})
