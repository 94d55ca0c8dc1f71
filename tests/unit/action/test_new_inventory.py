"""The inventory that playbooks/init.yml writes: sound, complete, and never over another one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.utils.display import Display
from ansible.vars.manager import VariableManager
from ansible_collections.canvas.fleet.plugins.action import new_inventory
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.plugin_utils import servers

from tests.fuzz import fleet
from tests.unit.action.test_servers import ED25519, OTHER


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(servers, "keys", lambda server: [ED25519])
    (tmp_path / "train.parquet").touch()
    return tmp_path


def written(answer: bytes | None = b"yes", check: bool = False, **told: Any) -> dict[str, Any]:
    args = {"servers": "ubuntu@203.0.113.10", "train": "train.parquet", **told}
    task = SimpleNamespace(
        args=args, check_mode=check, async_val=0, collections=None, action="canvas.fleet.new_inventory"
    )
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
    loader = DataLoader()
    action = new_inventory.ActionModule(
        task, connection, SimpleNamespace(), loader, Templar(loader, variables={}), None
    )

    def asked(*_: Any) -> bytes:
        if answer is None:
            raise AnsibleError("no terminal")
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Display, "prompt_until", asked)
        result: dict[str, Any] = action.run(None, {"inventory_hostname": "localhost"})
    return result


def read_back(path: Path) -> dict[str, dict[str, Any]]:
    """Each host's variables, as Ansible reads them."""
    loader = DataLoader()
    inventory = InventoryManager(loader, [str(path)])
    manager = VariableManager(loader, inventory)
    return {host.name: manager.get_vars(host=host) for host in inventory.get_hosts("trainers")}


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        pytest.param({}, {"gpu-01": {"ansible_user": "ubuntu", "ansible_host": "203.0.113.10"}}, id="one server"),
        pytest.param(
            {"servers": "a, root@[2001:db8::1]:2222"},
            {"gpu-01": {"ansible_host": "a"}, "gpu-02": {"ansible_host": "2001:db8::1", "ansible_port": 2222,
             "ansible_user": "root"}},
            id="two, with different logins, IPv6 and a port",
        ),
        pytest.param(
            {"servers": "ssh -i ~/.ssh/gpu u@a, ssh -i ~/.ssh/gpu u@b", "run": "pair"},
            {name: {"ansible_user": "u", "ansible_ssh_private_key_file": "~/.ssh/gpu", "training_run": "pair"}
             for name in ("gpu-01", "gpu-02")},
            id="one run over two, with one login",
        ),
        pytest.param(
            {"root": "/data/方块", "results": "/scratch/out/", "test": "train.parquet"},
            {"gpu-01": {"fleet_root": "/data/方块", "training_results_dir": "/scratch/out/{{ training_run }}"}},
            id="own folders",
        ),
        pytest.param({"train": "https://example.org/a.parquet"}, {"gpu-01": {"dataset_source": "url"}}, id="a URL"),
    ],
)  # fmt: skip
def test_what_was_asked_for_is_what_ansible_reads(
    place: Path, told: dict[str, Any], wanted: dict[str, dict[str, Any]]
) -> None:
    assert written(**told)["changed"]
    found = read_back(place / "inventory/mine")
    assert {name: {key: found[name].get(key) for key in values} for name, values in wanted.items()} == wanted
    assert list(found) == list(wanted)
    for name, variables in found.items():
        own = {key: value for key, value in variables.items() if not key.startswith(("ansible_", "omit", "vars"))}
        settings, findings = fleet.settings(fleet.Host(name, own))
        assert [one.code for one in findings] == []
        assert settings["dataset_train"] in (str(place / "train.parquet"), "https://example.org/a.parquet")


@pytest.mark.parametrize("checkout", [False, True])
def test_the_next_commands_are_those_of_the_place(
    place: Path, checkout: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("site.yml", "playbooks/plan.yml", "playbooks/site.yml") if checkout else ():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).touch()
    written()
    plan, site = ("playbooks/plan.yml", "site.yml") if checkout else ("canvas.fleet.plan", "canvas.fleet.site")
    assert f"ansible-playbook -i inventory/mine {plan}\n" in capsys.readouterr().out
    told = (place / "inventory/mine/hosts.yml").read_text()
    assert f"-i inventory/mine {plan} " in told
    assert f"-i inventory/mine {site} " in told


def test_only_the_compared_keys_are_accepted(place: Path) -> None:
    written(servers="u@a, u@[::1]:23", path="in a folder", fingerprints=ED25519.fingerprint)
    assert (place / "in a folder/known_hosts.txt").read_text() == servers.known_hosts(
        {one: [ED25519] for one in servers.parse("a, [::1]:23")}
    )
    (arguments, _) = (found["ansible_ssh_common_args"] for found in read_back(place / "in a folder").values())
    files = '"{{ inventory_dir }}/known_hosts.txt" ~/.ssh/known_hosts'
    assert arguments == f"-o 'UserKnownHostsFile={files}' -o StrictHostKeyChecking=yes"


@pytest.mark.parametrize("answer", [b"y", b"no", b"", None])
def test_without_a_yes_nothing_is_written(
    place: Path, answer: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert written(answer)["msg"] == "Nothing was written: HOST_KEY_UNCONFIRMED."
    assert not (place / "inventory").exists()
    assert ED25519.fingerprint in capsys.readouterr().out


@pytest.mark.parametrize(
    ("told", "code", "words"),
    [
        pytest.param({"servers": ""}, "VARIABLE_INVALID", "init_servers", id="no server"),
        pytest.param({"train": "nowhere.parquet"}, "DATASET_MISSING", "nowhere.parquet", id="no data"),
        pytest.param({"train": "https://example.org/a.csv"}, "DATASET_NOT_PARQUET", "a.csv", id="a csv"),
        pytest.param({"root": "data"}, "VARIABLE_INVALID", "fleet_root", id="no full path"),
        pytest.param({"results": "out"}, "VARIABLE_INVALID", "training_results_dir", id="results without a full path"),
        pytest.param({"run": "a b"}, "VARIABLE_INVALID", "training_run", id="a run of two words"),
        pytest.param({"fingerprints": OTHER.fingerprint}, "HOST_KEY_UNCONFIRMED", "203.0.113.10", id="another key"),
    ],
)
def test_what_the_plan_would_refuse_is_refused_now(
    place: Path, told: dict[str, Any], code: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert written(**told)["msg"] == f"Nothing was written: {code}."
    assert words in capsys.readouterr().out
    assert not (place / "inventory").exists()


def test_a_server_that_is_silent_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keys(server: servers.Server) -> Any:
        raise FleetError("x", code="SSH_TIMEOUT", found="b")

    monkeypatch.setattr(servers, "keys", keys)
    assert written(servers="a, b")["msg"] == "Nothing was written: SSH_TIMEOUT."
    assert not (place / "inventory").exists()


def test_nothing_is_overwritten(place: Path) -> None:
    mine = place / "inventory/mine"
    mine.mkdir(parents=True)
    assert written()["msg"] == "Nothing was written: INVENTORY_EXISTS."
    assert [*mine.iterdir()] == []
    mine.rmdir()
    mine.symlink_to("/nowhere")
    assert written()["msg"] == "Nothing was written: INVENTORY_EXISTS."


def test_a_dry_run_writes_nothing_and_an_interrupted_one_is_repeated(place: Path) -> None:
    assert written(check=True)["changed"]
    assert not (place / "inventory").exists()
    half = place / "inventory/.mine.part/group_vars"
    half.mkdir(parents=True)
    assert written()["changed"]
    assert sorted(path.name for path in (place / "inventory").iterdir()) == ["mine"]
    assert yaml.safe_load((place / "inventory/mine/hosts.yml").read_text())["trainers"]["hosts"]["gpu-01"]
