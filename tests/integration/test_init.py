"""playbooks/init.yml against a real sshd: a person answers its questions, and the plan works with what it wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest
import yaml

from demo import hosts
from demo.podman import CHECKOUT, STATE, podman
from demo.surroundings import enter

GROUP = hosts.Group(STATE / "init", "init")
PLAY = [str(CHECKOUT / ".venv/bin/ansible-playbook")]
ASK = [*PLAY, "-i", "localhost,", str(CHECKOUT / "playbooks/init.yml")]
# Two more doors of the same sshd: another port, and IPv6.
DOORS = (
    "printf 'Port 22\\nPort 2222\\nAddressFamily any\\n' > /etc/ssh/sshd_config.d/0-ports.conf; systemctl reload ssh"
)


@dataclass
class Server:
    address: str
    fingerprint: str
    key: Path

    @property
    def login(self) -> str:
        return f"ssh -p 2222 -i {self.key} {hosts.USER}@{self.address}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    enter()
    address = hosts.up(GROUP, ["door"])["door"]
    podman("exec", GROUP.container("door"), "sh", "-c", DOORS)
    said = subprocess.run(
        ["ssh-keygen", "-lf", f"{GROUP.host_key('door')}.pub"], capture_output=True, text=True, check=True
    )
    key = tmp_path_factory.mktemp("key") / "id"  # the checkout may have a blank in its path, which a person would quote
    shutil.copy2(GROUP.client_key, key)
    yield Server(address, said.stdout.split()[1], key)
    hosts.down(GROUP)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a blank in its name. No known_hosts of this machine's user helps."""
    place = tmp_path / "my fleet"
    place.mkdir()
    (place / "train.parquet").touch()
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANSIBLE_CONFIG", str(CHECKOUT / "ansible.cfg"))
    return place


def answered(server: Server, last: str) -> tuple[int, str]:
    """A person at a terminal; the return code, and all that was shown."""
    child = pexpect.spawn(ASK[0], ASK[1:], encoding="utf-8", timeout=60, dimensions=(40, 120))
    questions = {"Servers": server.login, "Training data": "train.parquet", "Test data": "", "everything": "",
                 "results": "", "Type yes": last}  # fmt: skip
    shown = ""
    for question, answer in questions.items():
        child.expect(question)
        shown += child.before
        child.sendline(answer)
    child.expect(pexpect.EOF)
    shown += child.before
    child.close()
    return child.exitstatus, shown


def given(*arguments: str, inside: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Without a terminal."""
    words = [word for one in arguments for word in ("-e", one)]
    return subprocess.run(
        [*inside, *ASK, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def test_a_person_compares_the_fingerprint_and_the_plan_works(server: Server, folder: Path) -> None:
    code, shown = answered(server, "no")
    assert (code, server.fingerprint in shown, [*folder.glob("inv*")]) == (2, True, [])
    assert answered(server, "yes")[0] == 0
    assert (folder / "inventory/mine/known_hosts.txt").read_text().startswith(f"[{server.address}]:2222 ssh-ed25519 ")
    plan = subprocess.run(
        [*PLAY, "-i", "inventory/mine", str(CHECKOUT / "playbooks/plan.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "there is no account blockmoving" in plan.stdout, plan.stdout
    assert "VARIABLE_" not in plan.stdout
    assert "INVENTORY_EXISTS" in given(f"init_servers={server.address}", "init_train=train.parquet").stdout


def test_a_given_fingerprint_needs_no_person_and_another_one_is_refused(server: Server, folder: Path) -> None:
    told = (f'init_servers="{server.login}"', "init_train=train.parquet")
    assert "HOST_KEY_UNCONFIRMED" in given(*told).stdout, "nobody is there to say yes"
    wrong = given(*told, f"init_fingerprints=SHA256:{'A' * 43}")
    assert (wrong.returncode, server.fingerprint in wrong.stdout, [*folder.glob("inv*")]) == (2, True, [])
    assert given(*told, f"init_fingerprints={server.fingerprint}").returncode == 0


def test_a_server_by_ipv6_and_another_port(server: Server, folder: Path) -> None:
    """In the host's own network, where it has an address of IPv6."""
    process = podman("inspect", "--format", "{{.State.Pid}}", GROUP.container("door")).stdout.strip()
    made = given(
        'init_servers="[::1]:2222"', "init_train=train.parquet", "init_fingerprints=all",
        inside=("nsenter", "-t", process, "-n"),
    )  # fmt: skip
    assert made.returncode == 0, made.stdout
    known = yaml.safe_load((folder / "inventory/mine/hosts.yml").read_text())["trainers"]["hosts"]["gpu-01"]
    assert known == {"ansible_host": "::1", "ansible_port": 2222}
    options = ["-o", f'UserKnownHostsFile="{folder}/inventory/mine/known_hosts.txt"', "-o", "StrictHostKeyChecking=yes"]
    said = subprocess.run(
        ["nsenter", "-t", process, "-n", "ssh", "-F", "none", "-i", str(GROUP.client_key), *options, "-p", "2222",
         f"{hosts.USER}@::1", "true"], capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
