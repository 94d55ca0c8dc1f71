"""Fill the settings of a host from all roles' specs, then observe the host in one call."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase

from ..module_utils.findings.finding import Finding
from ..module_utils.plan.settings import Option, across, options_of, read, validator
from ..module_utils.system import files

ROLES = Path(__file__).resolve().parents[2] / "roles"


class Specs(NamedTuple):
    """What the roles say: their options, raw defaults (templates), and the options that one role reads of another."""

    options: dict[str, Option]
    defaults: dict[str, Any]
    shared: frozenset[str]


@cache
def load_specs() -> Specs:
    """Of all roles, by variable name. Not to be altered: all hosts share it."""
    loader = DataLoader()
    specs: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for folder in sorted(ROLES.iterdir()):
        spec = folder / "meta" / "argument_specs.yml"
        if spec.is_file():
            specs[folder.name] = yaml_load(files.read(spec).decode())
        values = folder / "defaults" / "main.yml"
        if values.is_file():
            defaults.update(loader.load_from_file(str(values), trusted_as_template=True) or {})
        parts = (path for part in ("defaults", "vars", "tasks") for path in sorted(folder.glob(f"{part}/*.yml")))
        texts[folder.name] = "\n".join(files.read(path).decode() for path in parts)
    options = options_of(specs)
    for option in options.values():
        validator(option)
    return Specs(options, defaults, frozenset(across(options, texts)))


def master(settings: dict[str, Any], task_vars: dict[str, Any], group: str = "trainers") -> dict[str, Any]:
    """Address and port of the first host of this host's run; empty for that host itself."""
    me = task_vars["inventory_hostname"]
    if "training_run" not in task_vars:
        return {}  # by its default each host is a run of its own
    for name in task_vars.get("groups", {}).get(group, ()):
        if name == me:
            return {}
        theirs = task_vars["hostvars"][name]
        try:
            if str(theirs.get("training_run", name)) == settings["training_run"]:
                places = (theirs.get(key) for key in ("run_config_master_addr", "fleet_address", "ansible_host"))
                address = next((str(place) for place in places if place), name)
                return {"address": address, "port": settings["run_config_master_port"]}
        except AnsibleError:
            continue  # that host's own plan tells what is wrong with its variables
    return {}


class ActionModule(ActionBase):
    """The settings are resolved here, so that one spec types them for the plan and for the host alike."""

    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        settings, findings = self._settings(task_vars)
        if not any(found.refuses for found in findings):
            result.update(self._observed(settings, task_vars))
        result.pop("invocation", None)
        result["settings"] = settings
        result["shared"] = {name: settings[name] for name in sorted(load_specs().shared & set(settings))}
        result["findings"] = [found.as_dict() for found in findings]
        return result

    def _observed(self, settings: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The module's answer, with the controller's clock before and after it."""
        told = {"settings": settings, "master": master(settings, task_vars)}
        begin = time.time()
        found: dict[str, Any] = self._execute_module("canvas.fleet.host_info", told, task_vars=task_vars)
        return {**found, "asked": [begin, time.time()]}

    def _settings(self, task_vars: dict[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
        """This host's typed settings, and what is wrong with them."""
        options, defaults, _ = load_specs()
        templar = self._templar.copy_with_new_env(available_variables={**defaults, **task_vars})

        def template(raw: Any) -> Any:
            try:
                return templar.template(raw)
            except AnsibleError as error:
                raise ValueError(" ".join(str(error.message).split())) from error

        return read(options, defaults, task_vars, template)


# Ansible imports the plugin before it forks a process for each host: what is read here is not read again in each.
load_specs()
