"""A host that cannot be used, in every way that users meet; the plan has to name the cause, and go on for the others.

Each fault is made on a real host, with real ssh and sudo, and taken back. `python -m tests.chaos.reach FILE [WORDS]`
writes what Ansible itself answers at each fault: tests/fixtures/ansible/unreached.yml is made so.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner
import yaml

from demo import hosts
from demo.keys import keypair
from demo.podman import CHECKOUT, STATE, podman
from demo.surroundings import enter

GROUP = hosts.Group(STATE / "chaos-reach", "chaosreach")
PASSWORD = "right-4711"  # noqa: S105 - of accounts that exist on the host of this test alone
PYTHONS = Path("/root/.pyenv/versions")
SMALL = "mount -t tmpfs -o size=64k,nr_inodes={inodes} tmpfs {at}; head -c 1M /dev/zero > {at}/fill || true"
TEMPORARY = ("/tmp", "/var/tmp", "/home/deploy")  # noqa: S108 - the host's, where Python looks for room
SSHD = "/etc/ssh/sshd_config.d/0-password.conf"
BY_PASSWORD = f"echo PasswordAuthentication yes > {SSHD}; systemctl reload ssh; sleep 1"
BY_KEY = f"rm {SSHD}; systemctl reload ssh"
LIAR = base64.b64encode((CHECKOUT / "molecule/trust/files/liar.py").read_bytes()).decode()
LIES = (
    "mv /usr/bin/python3.11 /srv/python3.11; echo {how} > /srv/how; echo '#!/srv/python3.11 -I' > /usr/bin/python3.11; "
    f"echo {LIAR} | base64 -d >> /usr/bin/python3.11; chmod +x /usr/bin/python3.11"
)
LIES_NO_MORE = "mv /srv/python3.11 /usr/bin/python3.11; rm /srv/how"

# Accounts of the host, by what is odd about them.
ACCOUNTS = {
    "asked": "echo 'asked ALL=(ALL) ALL' > /etc/sudoers.d/asked",
    "nobodys": "true",
    "limited": "echo 'limited ALL=(root) NOPASSWD: /usr/bin/true' > /etc/sudoers.d/limited",
    "terminal": "printf 'Defaults:terminal requiretty\\nterminal ALL=(ALL) NOPASSWD: ALL\\n' > /etc/sudoers.d/terminal",
    "talks": "echo 'talks ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/talks; "
    "sed -i '1i echo {welcome to the machine' ~talks/.bashrc",
    "turned": "sed 's/^/command=\"echo Please login as the user ubuntu rather than the user root.; sleep 1\" /' "
    "/etc/ssh/authorized_keys_deploy > /etc/ssh/authorized_keys_turned",
    "closed": "usermod --shell /usr/sbin/nologin closed",
    "expired": "echo 'expired ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/expired; chage -d 0 expired",
}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a host, and the finding that has to tell it."""

    name: str
    code: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    breaks: str = ""  # as root on the host
    mends: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def fault(name: str, code: str, breaks: str = "", mends: str = "", **variables: Any) -> Fault:
    return Fault(name, code, {f"ansible_{key}": value for key, value in variables.items()}, breaks, mends)


def unpiped(one: Fault) -> Fault:
    """The same without pipelining: modules are copied to the host before they run."""
    return Fault(one.name, one.code, {**one.variables, "ansible_pipelining": False}, one.breaks, one.mends)


def known(text: str) -> str:
    return f"-o 'UserKnownHostsFile=\"{GROUP.state}/{text}\"' -o IdentitiesOnly=yes"


FAULTS = (
    # the address
    fault("a name that nobody knows", "SSH_NAME_UNKNOWN", host="no-such-host.invalid"),
    fault("a port on which nobody listens", "SSH_REFUSED", port=2222),
    fault("an address that nobody has", "SSH_TIMEOUT", host="{{ demo_network }}.253", timeout=3),
    fault("a host that is frozen", "SSH_TIMEOUT", timeout=3),
    fault("a port of another program", "SSH_CLOSED", port=8022,
          breaks="systemd-run -q --unit other python3 -m http.server 8022; sleep 1", mends="systemctl stop other"),
    # ssh
    fault("a host key that is not known", "HOST_KEY_UNKNOWN", ssh_common_args=known("known_none")),
    fault("another host key than the known one", "HOST_KEY_CHANGED", ssh_common_args=known("known_other")),
    fault("a key that opens nothing", "SSH_LOGIN_REFUSED", ssh_private_key_file=f"{GROUP.state}/stranger0"),
    fault("an account that is not there", "SSH_LOGIN_REFUSED", user="nosuch"),
    fault("more keys than the host tries", "SSH_TOO_MANY_KEYS", ssh_private_key_file=f"{GROUP.state}/stranger0",
          ssh_common_args=known("known_hosts") + "".join(f" -i {GROUP.state}/stranger{n}" for n in range(1, 7))),
    fault("a wrong password for the login", "SSH_LOGIN_REFUSED", user="asked", password="wrong",  # noqa: S106 - of no account
          ssh_private_key_file=f"{GROUP.state}/stranger0", breaks=BY_PASSWORD, mends=BY_KEY),
    fault("a password, and a host key that is not known", "HOST_KEY_UNKNOWN", user="asked", password=PASSWORD,
          ssh_common_args=known("known_none"), breaks=BY_PASSWORD, mends=BY_KEY),
    fault("an account whose password has run out", "SSH_PASSWORD_EXPIRED", user="expired"),
    # becoming root
    fault("sudo that asks for a password", "BECOME_PASSWORD_MISSING", user="asked"),
    fault("a wrong password for sudo", "BECOME_PASSWORD_WRONG", user="asked", become_password="wrong"),  # noqa: S106 - of no account
    fault("an account that sudo does not know", "BECOME_NOT_ALLOWED", user="nobodys", become_password=PASSWORD),
    fault("an account that sudo lets do one thing", "BECOME_NOT_ALLOWED", user="limited", become_password=PASSWORD),
    fault("sudo that wants a terminal", "BECOME_NEEDS_TERMINAL", user="terminal"),
    fault("no sudo", "BECOME_PROGRAM_MISSING", breaks="mv /usr/bin/sudo /usr/bin/sudo.away",
          mends="mv /usr/bin/sudo.away /usr/bin/sudo"),
    fault("a wrong password for su", "BECOME_PASSWORD_WRONG", become_method="su", become_password="wrong"),  # noqa: S106 - of no account
    fault("su without a password", "BECOME_TIMEOUT", become_method="su", timeout=3),
    fault("sudo that hangs", "BECOME_TIMEOUT", timeout=3, user="asked", become_password=PASSWORD,
          breaks="mv /usr/bin/sudo /usr/bin/sudo.away; printf '#!/bin/sh\\nsleep 60\\n' > /usr/bin/sudo; "
          "chmod +x /usr/bin/sudo",
          mends="mv /usr/bin/sudo.away /usr/bin/sudo"),
    fault("another account than root", "NOT_ROOT", become_user="nobody"),
    fault("no sudo at all", "NOT_ROOT", become=False),
    # Python and the shell
    fault("no Python where it is said to be", "PYTHON_MISSING", python_interpreter="/usr/bin/python3.99"),
    fault("no Python at all", "PYTHON_MISSING", breaks="mkdir /root/py; mv /usr/bin/python3* /root/py/",
          mends="mv /root/py/* /usr/bin/; rmdir /root/py"),
    fault("Python 2.7", "PYTHON_OLD", python_interpreter="/pythons/2.7.18/bin/python"),
    fault("Python 3.6", "PYTHON_OLD", python_interpreter="/pythons/3.6.15/bin/python3"),
    fault("Python 3.8", "PYTHON_OLD", python_interpreter="/pythons/3.8.18/bin/python3"),
    fault("a login shell that prints before the answer", "SHELL_PRINTS", user="talks"),
    fault("a login that only says to use another one", "SHELL_PRINTS", user="turned"),
    fault("an account without a shell", "SHELL_PRINTS", user="closed"),
    # answers without end
    fault("an answer that is as long as the line lets it", "HOST_ANSWER_MALFORMED",
          breaks=LIES.replace("{how}", "endless"), mends=LIES_NO_MORE),
    fault("an answer that comes a letter a second", "HOST_UNREACHABLE", breaks=LIES.replace("{how}", "drip"),
          mends=LIES_NO_MORE),
    # temporary folders
    fault("no folder for temporary files", "TEMPORARY_FOLDER_UNWRITABLE",
          breaks="; ".join(SMALL.format(at=at, inodes=9) for at in TEMPORARY), mends=f"umount {' '.join(TEMPORARY)}"),
    unpiped(fault("no room in Ansible's own folder", "TEMPORARY_FOLDER_FULL", remote_tmp="/mnt/t",
        mends="umount /mnt/t", breaks=f"mkdir -p /mnt/t; {SMALL.format(at='/mnt/t', inodes=99)}; chmod 777 /mnt/t")),
    unpiped(fault("no inode in Ansible's own folder", "TEMPORARY_FOLDER_FULL", remote_tmp="/mnt/t",
        breaks="mkdir -p /mnt/t; mount -t tmpfs -o nr_inodes=1 tmpfs /mnt/t; chmod 777 /mnt/t", mends="umount /mnt/t")),
    unpiped(fault("Ansible's own folder is another account's", "TEMPORARY_FOLDER_UNWRITABLE", remote_tmp="/root/t")),
    unpiped(fault("Ansible's own folder is read-only", "TEMPORARY_FOLDER_UNWRITABLE", remote_tmp="/mnt/t",
        breaks="mkdir -p /mnt/t; mount -t tmpfs -o ro tmpfs /mnt/t", mends="umount /mnt/t")),
    unpiped(fault("files for another account, without setfacl", "ACL_MISSING", become_user="nobody")),
)  # fmt: skip


def prepare() -> str:
    """The host with its accounts, strangers' keys and lists of host keys; returns its address."""
    os.environ["ANSIBLE_SSH_ARGS"] = "-o ControlMaster=no"  # no fault finds the connection of the one before it open
    address = hosts.up(GROUP, ["reach"], "host", [f"{PYTHONS}:/pythons:ro"])["reach"]
    for number in range(7):
        keypair(GROUP.state / f"stranger{number}", "stranger")
    (GROUP.state / "known_none").write_text("")
    kind, key = (GROUP.state / "stranger0.pub").read_text().split()[:2]
    (GROUP.state / "known_other").write_text(f"{address} {kind} {key}\n")
    on_host("ls -d /pythons/*/lib > /etc/ld.so.conf.d/pythons.conf; ldconfig")
    for name, odd in ACCOUNTS.items():
        make = f"id {name} 2>/dev/null || useradd --create-home --shell /bin/bash {name}"
        key = f"cp /etc/ssh/authorized_keys_deploy /etc/ssh/authorized_keys_{name}"
        on_host(f"{make}; echo {name}:{PASSWORD} | chpasswd; {key}; {odd}")
    return address


def on_host(script: str) -> str:
    done = podman("exec", GROUP.container("reach"), "sh", "-c", script, check=False)
    return done.stdout + done.stderr


def inventory(address: str, one: Fault) -> Path:
    base = {
        "ansible_host": address,
        "ansible_user": hosts.USER,
        "ansible_ssh_private_key_file": str(GROUP.client_key),
        "ansible_ssh_common_args": known("known_hosts"),
        "demo_network": address.rpartition(".")[0],
        "nvidia_gpu_expected": False,
    }
    path = GROUP.state / "hosts.yml"
    path.write_text(yaml.safe_dump({"trainers": {"hosts": {"reach": {**base, **one.variables}}}}))
    return path


def broken(one: Fault) -> Iterator[None]:
    container = GROUP.container("reach")
    frozen = one.name.endswith("frozen")
    if frozen:
        podman("pause", container)
    if one.breaks:
        on_host(one.breaks)
    try:
        yield
    finally:
        if frozen:
            podman("unpause", container)
        if one.mends:
            on_host(one.mends)


def run(points: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    address = prepare()
    rows = []
    for one in FAULTS[:points]:
        for _ in broken(one):
            done = subprocess.run(
                ["ansible-playbook", "-i", str(inventory(address, one)), "playbooks/plan.yml"],
                capture_output=True, text=True, check=False, cwd=CHECKOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        codes = re.findall(r"^error +([A-Z_]+)", done.stdout, re.MULTILINE)
        found = re.search(r"^  found +(.*)", done.stdout, re.MULTILINE)
        lines = len(done.stdout.splitlines())
        held = codes == [one.code] and done.returncode == 2 and lines < 60
        rows.append({"fault": one.name, "codes": codes, "rc": done.returncode, "lines": lines,
                     "found": found[1] if found else "", "held": held})  # fmt: skip
        word = "held" if held else "NOT HELD"
        say(f"{word}  {one.name}: {codes} rc {done.returncode}, {lines} lines; {rows[-1]['found']}")
    return rows


def summary(rows: list[dict[str, Any]]) -> str:
    return f"reach: {sum(row['held'] for row in rows)} of {len(rows)} faults are named"


def record(path: Path, only: str) -> None:
    """What Ansible answers to each fault, without our own plugins."""
    address, answers = prepare(), {}
    for one in (one for one in FAULTS if only in one.name):
        for _ in broken(one):
            given = ansible_runner.run(
                private_data_dir=str(GROUP.state), inventory=str(inventory(address, one)), host_pattern="all",
                module="ansible.builtin.ping", cmdline="--become", quiet=True, project_dir=str(CHECKOUT),
                envvars={"ANSIBLE_HOST_KEY_CHECKING": "True"},
            )  # fmt: skip
        (answer,) = (event["event_data"]["res"] for event in given.events if "res" in event.get("event_data", {}))
        answer = {"failed": not answer.get("unreachable"), **answer}
        kept = ("unreachable", "failed", "msg", "module_stdout", "module_stderr", "rc", "ping")
        answers[one.name] = {"code": one.code, **{key: answer[key] for key in kept if key in answer}}
        print(one.name, asdict(one)["code"], str(answers[one.name])[:300], flush=True)
        path.write_text(yaml.safe_dump(answers, sort_keys=False, width=110))


if __name__ == "__main__":
    enter()
    record(Path(sys.argv[1]).absolute(), sys.argv[2] if sys.argv[2:] else "")
