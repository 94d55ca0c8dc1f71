"""The shipped inventories, planned as Ansible reads them, for servers of the kinds that their comments name."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import Plan
from ansible_collections.canvas.fleet.plugins.module_utils.plan.text import plan_text

from tests.fuzz import fleet
from tests.unit.support import dataset_files
from tests.unit.support.places import ROOT
from tools.cards import CARDS, MIB

GB = 10**9
# host: its cards, how many, memory in GB
EXAMPLE = {"gpu-01": ("H100", 8, 1000)}
SEVERAL = {
    "small": ("4090", 1, 128),
    "eight": ("H100", 8, 1000),
    "solo": ("A100-80", 8, 512),
    "twin0": ("H100", 8, 1000),
    "twin1": ("H100", 8, 1000),
}


def with_hardware(card: str, number: int, memory: int, seen: dict[str, Any]) -> None:
    """The server of the test's fleet, with other cards and memory."""
    cards = seen["roles"]["nvidia"]["gpus"][:number]
    for one in cards:
        one.update(name=card, memory_bytes=CARDS[card] * MIB)
    told = {"gpus": cards, "attached": number, "devices": [0x2330] * number, "nvswitches": 4 * (number > 1)}
    seen["roles"]["nvidia"].update(told, fabric=seen["roles"]["nvidia"]["fabric"][:number])
    seen["facts"].update(memory_bytes=memory * GB)


@cache
def variables(folder: str) -> dict[str, dict[str, Any]]:
    """Each host's variables, from the files that Ansible finds by the names of hosts and groups."""
    loader = DataLoader()
    inventory = InventoryManager(loader, [str(ROOT / "inventory" / folder)])
    manager = VariableManager(loader, inventory)
    given = {host.name: manager.get_vars(host=host, include_hostvars=False) for host in inventory.get_hosts("trainers")}
    return {
        host: {name: value for name, value in found.items() if not name.startswith(("ansible_", "omit", "vars"))}
        for host, found in given.items()
    }


def planned(folder: str, servers: dict[str, tuple[str, int, int]]) -> Plan:
    given = variables(folder)
    assert list(given) == list(servers), "every host of the inventory has a server here"
    hosts = [fleet.Host(name, given[name], spoil=partial(with_hardware, *servers[name])) for name in given]
    return fleet.plan(hosts)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's home, with the data where the example says that it lies."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = [dataset_files.row(number) for number in range(240)]
    folder = tmp_path / "BlockMovingSFT/data/output"
    dataset_files.write(folder / "train_split.parquet", rows[40:])
    dataset_files.write(folder / "test_split.parquet", rows[:40])


@pytest.mark.parametrize(("folder", "servers"), [("example", EXAMPLE), ("example-fleet", SEVERAL)])
def test_a_shipped_inventory_is_planned_without_a_surprise(
    folder: str, servers: dict[str, tuple[str, int, int]]
) -> None:
    made = planned(folder, servers)
    assert [found for found in made.findings if found.code.startswith("VARIABLE")] == []
    for name, host in made.hosts.items():
        assert host.refusal == "", name
        assert {found.code for found in host.findings if found.severity != "note"} == set(), name


def test_the_runs_are_those_of_the_comments() -> None:
    made = planned("example-fleet", SEVERAL)
    assert made.runs == {"small": ["small"], "eight": ["eight"], "solo": ["solo"], "pair": ["twin0", "twin1"]}
    topology = {name: host.topology for name, host in made.hosts.items()}
    assert (topology["twin1"].world_size, topology["solo"].world_size) == (16, 4)
    assert (topology["twin1"].num_shard, topology["twin1"].num_replicate) == (16, 1)
    assert "(1 × 16 shards)" in " ".join(plan_text(made).split()), "the plan shows what was set"


def test_the_simplest_case_comes_first_and_is_short() -> None:
    text = (ROOT / "inventory/example/hosts.yml").read_text()
    assert yaml.safe_load(text) == {"trainers": {"hosts": {"gpu-01": {"ansible_host": "203.0.113.10"}}}}
    assert len([line for line in text.splitlines() if line.strip(" -") and not line.startswith("#")]) == 4
