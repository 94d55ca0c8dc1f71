# SPDX-License-Identifier: Apache-2.0
"""Write an inventory for servers whose host keys a person has compared. Runs on the controller."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.template import trust_as_template
from ansible.utils.display import Display

from ..module_utils.core import shown
from ..module_utils.core.errors import FleetError, raise_for
from ..module_utils.findings.finding import Finding, finding
from ..module_utils.plan import settings as plan_settings
from ..module_utils.plan.findings_text import finding_lines
from ..module_utils.system import files, folders
from ..plugin_utils import calls, servers
from ..plugin_utils.quoting import sh, yaml_scalar
from ..plugin_utils.render import Templates
from ..plugin_utils.role_action import RoleAction, load_specs
from ..plugin_utils.servers import HostKey, Server

QUESTION = "Are these the servers' own keys? Type yes to write the inventory:"
COMPARE = """\
Compare each line with your provider's console, or with the server itself (ssh-keygen -lf FILE, for the files
/etc/ssh/ssh_host_*_key.pub). Somebody between you and the server could show another key."""
Texts = dict[str, str]


class ActionModule(RoleAction):
    """Nothing is written before everything is known, and nothing is overwritten."""

    _requires_connection = False
    _supports_diff = False
    _VALID_ARGS = frozenset(("path", "servers", "train", "test", "root", "results", "run", "fingerprints"))

    def _resolved(self) -> tuple[dict[str, Any], list[Finding]]:
        """Nothing: settings are those of the new inventory."""
        return {}, []

    def work(self) -> dict[str, Any]:
        try:
            return self._work()
        except FleetError as error:
            if not error.code:
                raise
            parts = {name: getattr(error, name) for name in ("variable", "found", "expected", "remedy")}
            _display(finding_lines(finding(error.code, **parts)))
            return {"failed": True, "msg": f"Nothing was written: {error.code}."}

    def _work(self) -> dict[str, Any]:
        given = {name: str(self._task.args.get(name) or "").strip() for name in self._VALID_ARGS}
        path = Path(os.path.abspath(os.path.expanduser(given["path"] or "inventory/mine")))
        if os.path.lexists(path):
            found = f"{path} is there already"
            raise FleetError.of(finding("INVENTORY_EXISTS", variable="init_path", found=found, expected="a new folder"))
        named = {f"gpu-{number:02}": server for number, server in enumerate(servers.parse(given["servers"]), 1)}
        texts = self._texts(named, given, path)
        self._judge(texts, next(iter(named)))
        keys = self._confirmed(named, given["fingerprints"])
        texts["known_hosts.txt"] = servers.known_hosts(keys)
        if not self._task.check_mode:
            self._write(path, texts)
            _display(
                [f"{path} is written. Next:", f"  ansible-playbook -i {sh(calls.near(path))} {calls.playbook('plan')}"]
            )
        return {"changed": True, "path": str(path), "hosts": list(named)}

    def _texts(self, named: Mapping[str, Server], given: Mapping[str, str], path: Path) -> Texts:
        """The files of the inventory."""
        one = next(iter(named.values()))
        user, key = (servers.shared(getattr(server, name) for server in named.values()) for name in ("user", "key"))
        hosts = {name: _variables(server, user, key) for name, server in named.items()}
        login = {"ansible_user": user, "ansible_ssh_private_key_file": key}
        lines = [f"{name}: {yaml_scalar(value)}" for name, value in login.items() if value]
        fill = Templates()
        values = {
            "shown_path": calls.near(path),
            "plan": calls.playbook("plan"),
            "site": calls.playbook("site"),
            "hosts": _indented(yaml.safe_dump(hosts, sort_keys=False), 4),
            "run": _line("  vars:\n    training_run: %s", given["run"], "  # vars:\n  #   training_run: NAME"),
            "login": "\n".join(lines) or f"# ansible_user: ubuntu    (ssh's own default is used for {one.address})",
            "source": "url" if "://" in given["train"] else "controller",
            "train": _data("init_train", given["train"]),
            "test": _line("dataset_test: %s", _data("init_test", given["test"]), "# dataset_test: /path/test.parquet"),
            "root": given["root"] or "/srv/blockmoving",
            "results": _line(
                "training_results_dir: %s",
                given["results"] and f"{given['results'].rstrip('/')}/{{{{ training_run }}}}",
                '# training_results_dir: "/scratch/outputs/{{ training_run }}"',
            ),
        }
        return {
            "hosts.yml": fill("fleet", "inventory_hosts.yml.j2", values),
            "group_vars/trainers.yml": fill("fleet", "inventory_trainers.yml.j2", values),
        }

    def _judge(self, texts: Texts, host: str) -> None:
        """Raises FleetError for values that the plan would refuse."""
        given = yaml.safe_load(texts["group_vars/trainers.yml"])
        group = yaml.safe_load(texts["hosts.yml"])["trainers"]
        given |= {"inventory_hostname": host, **group.get("vars", {}), **group["hosts"][host]}
        self.variables = {name: _trusted(value) for name, value in given.items()}
        specs = load_specs()
        found = plan_settings.read(specs.options, specs.defaults, self.variables, self._template)[1]
        raise_for(found)

    def _confirmed(self, named: Mapping[str, Server], fingerprints: str) -> dict[Server, list[HostKey]]:
        """The host keys that the user wants. Raises FleetError."""
        with ThreadPoolExecutor(8) as pool:
            asked = [*pool.map(_keys, named.values())]
        for silent in [one for one in asked if isinstance(one, FleetError)]:
            raise silent
        keys = {server: one for server, one in zip(named.values(), asked, strict=True) if isinstance(one, list)}
        if fingerprints:
            return servers.confirmed(keys, fingerprints)
        self._show(named, keys)
        if self._asked() != "yes":
            raise FleetError.of(servers.unconfirmed("no yes to the host keys above"))
        return keys

    def _show(self, named: Mapping[str, Server], keys: Mapping[Server, list[HostKey]]) -> None:
        lines = ["The host keys of your servers:", ""]
        for name, server in named.items():
            lines += [f"  {name}  {server.place}", *(f"    {key.fingerprint}  {key.kind}" for key in keys[server])]
        _display([*map(shown.line, lines), "", COMPARE])

    def _asked(self) -> str:
        """The user's answer; empty where nobody can answer."""
        try:
            return Display().prompt_until(QUESTION).decode(errors="replace").strip().lower()
        except AnsibleError:
            return ""

    def _write(self, path: Path, texts: Texts) -> None:
        """All of it appears at once, under its final name."""
        part = path.with_name(f".{path.name}.part")
        if os.path.lexists(part):
            folders.remove_tree(part)
        for name, text in texts.items():
            folders.make(part / os.path.dirname(name))
            files.write(part / name, text.encode())
        files.move(part, path)


def _keys(server: Server) -> list[HostKey] | FleetError:
    try:
        return servers.keys(server)
    except FleetError as error:
        return error


def _display(lines: list[str]) -> None:
    Display().display("\n" + shown.page("\n".join(lines)) + "\n")


def _variables(server: Server, user: str, key: str) -> dict[str, Any]:
    """What differs from the group's login."""
    own = {"ansible_user": server.user, "ansible_ssh_private_key_file": server.key}
    given = {"ansible_host": server.address} | ({"ansible_port": server.port} if server.port != 22 else {})
    return given | {name: value for name, value in own.items() if value and value not in (user, key)}


def _data(variable: str, place: str) -> str:
    """A full path, or a URL. Raises FleetError for a file that is not there."""
    if not place or "://" in place:
        return place
    path = os.path.abspath(os.path.expanduser(place))
    if not os.path.isfile(path):
        missing = finding(
            "DATASET_MISSING", variable=variable, found=f"no file {path}", expected="a parquet file, or a URL"
        )
        raise FleetError.of(missing)
    return path


def _line(form: str, value: str, otherwise: str) -> str:
    return form % yaml_scalar(value) if value else otherwise


def _indented(text: str, spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in text.rstrip().splitlines())


def _trusted(value: Any) -> Any:
    return trust_as_template(value) if isinstance(value, str) else value
