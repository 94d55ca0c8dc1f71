"""Which group gave a value, asked of Ansible's own inventory with its group_vars and host_vars."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager
from ansible_collections.canvas.fleet.plugins.action import host_info
from ansible_collections.canvas.fleet.plugins.plugin_utils.inventory import given_by_groups, unread_files

from tests.unit.support import actions

PAIR = {"hosts": {"a": {}}, "vars": {"training_run": "pair"}}
ODD = {"hosts": {"a": {}}, "vars": {"training_run": "odd"}}


def task(folder: Path, files: dict[str, Any]) -> Any:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(content))
    loader = DataLoader()
    inventory = InventoryManager(loader, [str(folder / "hosts.yml")])
    return SimpleNamespace(get_variable_manager=lambda: VariableManager(loader, inventory))


@pytest.mark.parametrize(
    ("files", "runs"),
    [
        pytest.param({"hosts.yml": {"pair": PAIR, "odd": ODD}}, {"pair": "pair", "odd": "odd"}, id="two groups"),
        pytest.param({"hosts.yml": {"pair": PAIR, "odd": {"hosts": {"a": {}}}},
                      "group_vars/odd.yml": {"training_run": "odd"}}, {"pair": "pair", "odd": "odd"}, id="a file"),
        pytest.param({"hosts.yml": {"outer": {"children": {"pair": PAIR}, "vars": {"training_run": "x"}}}},
                     {"pair": "pair"}, id="a group within another one"),
        pytest.param({"hosts.yml": {"pair": PAIR, "odd": ODD}, "host_vars/a.yml": {"training_run": "mine"}}, {},
                     id="the host's own word"),
        pytest.param({"hosts.yml": {"pair": PAIR}}, {"pair": "pair"}, id="one group"),
    ],
)  # fmt: skip
def test_the_groups_that_give_a_host_its_run(tmp_path: Path, files: dict[str, Any], runs: dict[str, str]) -> None:
    given = task(tmp_path, files)
    assert given_by_groups(given, "a", "training_run") == runs

    action = actions.action(host_info, iter([{"observation": {}}]), {"training_run": "pair"})
    action._task.get_variable_manager = given.get_variable_manager
    result = actions.run(action, inventory_hostname="a", training_run="pair", groups={}, hostvars={})
    assert [found["code"] for found in result["findings"]] == (["RUN_AMBIGUOUS"] if len(runs) > 1 else [])


READ = ("host_vars/a.yml", "host_vars/b/x.yml", "host_vars/localhost.yml", "group_vars/all.yml", "group_vars/pair.yaml")
NO_VARIABLES = ("host_vars/README.md", "host_vars/.a.yml.swp", "host_vars/a.yml.bak", "other/c.yml")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        pytest.param((), [], id="all are read"),
        pytest.param(("host_vars/aa.yml",), [("host_vars/aa.yml", "a")], id="a host with a new name"),
        pytest.param(("group_vars/pairs", "group_vars/z.yml"), [("group_vars/pairs", "pair"), ("group_vars/z.yml", "")],
                     id="a file of no group, without an ending too"),
        pytest.param(("host_vars/gone/x.yml",), [("host_vars/gone", "")], id="a folder of no host"),
        pytest.param(("host_vars/b.yml",), [("host_vars/b.yml", "b")], id="a file that the folder of its name hides"),
    ],
)  # fmt: skip
def test_files_that_ansible_reads_for_nobody_are_named_once(
    tmp_path: Path, files: tuple[str, ...], found: list[tuple[str, str]]
) -> None:
    task(tmp_path, {"hosts.yml": {"pair": {"hosts": {"a": {}, "b": {}}}}, "host_vars/b": {}, "other/c.yml": {}})
    (tmp_path / "host_vars/b").unlink()
    for name in (*READ, *NO_VARIABLES, *files):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    sources, groups = [str(tmp_path / "hosts.yml"), "x,"], {"all": ["a", "b"], "ungrouped": [], "pair": ["a", "b"]}
    wanted = [(str(tmp_path / name), near) for name, near in found]
    assert [*unread_files(sources, {"a", "b", "localhost"}, groups)] == wanted

    told: dict[str, list[str]] = {}
    for host in ("a", "b"):
        action = actions.action(host_info, iter([{"observation": {}}]), {})
        play = {"ansible_play_hosts_all": ["a", "b"], "ansible_inventory_sources": sources}
        result = actions.run(action, inventory_hostname=host, groups=groups, hostvars={}, **play)
        told[host] = [one["found"] for one in result["findings"] if one["code"] == "VARIABLE_FILE_UNUSED"]
    assert told == {"a": [path for path, _ in wanted], "b": []}
