# SPDX-License-Identifier: Apache-2.0
"""Fill the settings of a host from all roles' specs, then observe the host in one call."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleError

from ..module_utils.core.errors import FleetError
from ..module_utils.core.settings import Settings
from ..module_utils.findings.finding import Finding, finding
from ..module_utils.plan.unreached import unreached
from ..plugin_utils.inventory import given_by_groups, unread_files
from ..plugin_utils.role_action import RoleAction


def master(settings: Settings, task_vars: dict[str, Any], group: str = "trainers") -> dict[str, Any]:
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
            continue  # the plan reports invalid variables of that host
    return {}


class ActionModule(RoleAction):
    """Invalid variables are a part of the result. The plan reports them and refuses the run."""

    _supports_diff = False
    before_plan = True

    def refuse(self) -> None:
        """Nothing: the plan reports it."""

    def work(self) -> dict[str, Any]:
        result: dict[str, Any] = {"changed": False}
        self.findings += [*self._ambiguous(), *self._unread()]
        if not any(found.refuses for found in self.findings):
            begin, answer = time.time(), self._answer()
            if cause := unreached(answer):
                self.findings.append(cause)
            else:
                result = {**answer, "asked": [begin, time.time()]}
        findings = [found.as_dict() for found in self.findings]
        return {**result, "settings": self.settings, "choice": self.choice, "findings": findings}

    def _ambiguous(self) -> list[Finding]:
        """Groups that put the host into two runs: Ansible takes one of them without a message."""
        groups = given_by_groups(self._task, self.host, "training_run") if "training_run" in self.variables else {}
        if len({str(run) for run in groups.values()}) < 2:
            return []
        found = "; ".join(f"{run} by the group {group}" for group, run in groups.items())
        return [finding("RUN_AMBIGUOUS", variable="training_run", found=found, expected="one run")]

    def _unread(self) -> list[Finding]:
        """Files of variables that no host has, as after a new name; said once, at the first host."""
        if self.variables.get("ansible_play_hosts_all", [""])[0] != self.host:
            return []
        groups, sources = self.variables["groups"], self.variables.get("ansible_inventory_sources") or ()
        return [
            finding("VARIABLE_FILE_UNUSED", found=path, expected=f"{near}?" if near else "a name of the inventory")
            for path, near in unread_files(sources, {*groups["all"], "localhost"}, {*groups})
        ]

    def _answer(self) -> dict[str, Any]:
        """The module's answer, or what Ansible says where there is none: the task never fails, and the plan goes on."""
        try:
            return self.module(settings=self.settings, master=master(self.settings, self.variables))
        except FleetError as error:
            return {"failed": True, **error.as_result()}
        except AnsibleError as error:
            return {"failed": True, "msg": str(error)}
