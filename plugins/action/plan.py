"""Gather what every host reported, plan, print. Runs on the controller and opens no connection."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils.core import shown
from ..module_utils.core.errors import FleetError
from ..module_utils.core.role_plan import RolePlan
from ..module_utils.core.settings import Settings
from ..module_utils.core.topology import Topology
from ..module_utils.findings import of_reach
from ..module_utils.findings.finding import Finding, finding
from ..module_utils.machine.fit.choose import Choice
from ..module_utils.plan.data import plan_data
from ..module_utils.plan.findings_text import findings_of
from ..module_utils.plan.make import Decide, Plan, make_plan
from ..module_utils.plan.observation import HostSeen, understood
from ..module_utils.plan.text import ending, plan_text
from ..module_utils.plan.unreached import unreached
from ..module_utils.roles.canvas_code import decide as canvas_code_plan
from ..module_utils.roles.conda_env import decide as conda_env_plan
from ..module_utils.roles.dataset import controller as dataset_controller
from ..module_utils.roles.dataset import decide as dataset_plan
from ..module_utils.roles.dataset import observe as dataset
from ..module_utils.roles.dataset.judge import judge
from ..module_utils.roles.fleet_agent import decide as fleet_agent_plan
from ..module_utils.roles.nvidia import decide as nvidia_plan
from ..module_utils.roles.run_config import decide as run_config_plan
from ..module_utils.roles.training import decide as training_plan
from ..module_utils.roles.weights import decide as weights_plan
from ..module_utils.system import files
from ..plugin_utils import page
from ..plugin_utils.controller import is_gone
from ..plugin_utils.inventory import given_by_host
from ..plugin_utils.render import Templates

Resolve = Callable[[str], str]


def decide_dataset(
    seen: dataset.Observation, settings: Settings, topology: Topology, resolve: Resolve = os.path.expanduser
) -> RolePlan:
    """The role's decision; a file of the controller is read before it is copied."""
    if settings["dataset_source"] != "controller":
        return dataset_plan.decide(seen, settings, topology)
    try:
        found = dataset_controller.facts(settings, resolve)
    except FleetError as error:
        missing = finding(
            error.code or "DATASET_MISSING",
            variable=error.variable,
            found=error.found or error.message,
            expected=error.expected or "a parquet file on the controller",
            remedy=error.remedy,
        )
        return RolePlan(reasons=("the data cannot be read on the controller",), findings=(missing,))
    made = dataset_plan.decide(seen, dataset_controller.with_digests(settings, found), topology)
    tokenizer = settings["dataset_tokenizer"]
    inspection = None if made.in_sync else dataset_controller.inspected(found, tokenizer and resolve(tokenizer))
    if not inspection:
        return made
    known = {one.code for one in made.findings}
    judged = judge(inspection, settings, topology)
    findings = (*made.findings, *(one for one in judged if one.code not in known))
    return replace(made, findings=findings, values={**made.values, "inspected": True})


DECIDE: dict[str, Decide] = {
    "fleet_agent": fleet_agent_plan.decide,
    "nvidia": nvidia_plan.decide,
    "conda_env": conda_env_plan.decide,
    "canvas_code": canvas_code_plan.decide,
    "dataset": decide_dataset,
    "weights": weights_plan.decide,
    "run_config": partial(run_config_plan.decide, fill=Templates()),
    "training": partial(training_plan.decide, fill=Templates()),
}


def lost(answer: Mapping[str, Any], in_play: bool, limited: bool = False) -> Finding | None:
    """The finding for a host that was not observed, or None. `limited`: --limit leaves it out."""
    missing = None
    if not answer or not in_play:
        found = "left out by --limit" if limited else "lost or failed earlier in this play"
        missing = finding("HOST_MISSING", found=found, expected="every host of the run")
    return unreached(answer) or missing


def reached_at(variables: Mapping[str, Any], templated: Callable[[Any], Any]) -> str:
    """Address and port of the host's SSH server, as far as the inventory says them; "" for a name without an address.

    Ports of one address are different machines: containers that are rented have often only a port of their own.
    """
    try:
        address, port = (templated(variables.get(name) or "") for name in ("ansible_host", "ansible_port"))
    except AnsibleError:
        return ""
    return f"{address}:{port or 22}" if address else ""


class ActionModule(ActionBase):
    """One plan for all hosts, so the task that calls this is run once."""

    _supports_check_mode = True
    _requires_connection = False
    _VALID_ARGS = frozenset(("seen", "group", "show"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        hosts = self._hosts(task_vars, args.get("group", "trainers"), args.get("seen", "__fleet_seen"))
        asked = set(task_vars.get("ansible_play_hosts_all", ()))  # those that --limit leaves
        plan = make_plan(hosts, self._decide(), {host.name for host in hosts if host.name not in asked})
        self._show(plan, args.get("show", "plan"))
        paths = [host.settings["fleet_plan_file"] for host in hosts if host.settings.get("fleet_plan_format") == "json"]
        if paths and args.get("show", "plan") != "nothing":
            try:
                self._write(plan, paths[0])
            except FleetError as error:
                return {**result, "failed": True, **error.as_result()}
        return shown.result({**result, "changed": False, **plan.as_dict()})

    def _decide(self) -> dict[str, Decide]:
        """Each role's decision; a relative path of the controller means the same as for a task that copies the file."""
        resolve = self._loader.path_dwim
        run_config = partial(run_config_plan.decide, fill=Templates(resolve))
        return {**DECIDE, "dataset": partial(decide_dataset, resolve=resolve), "run_config": run_config}

    def _hosts(self, task_vars: dict[str, Any], group: str, seen: str) -> list[HostSeen]:
        active = set(task_vars.get("ansible_play_hosts", []))
        asked = set(task_vars.get("ansible_play_hosts_all", ()))  # those that --limit leaves
        return [
            self._host(name, task_vars["hostvars"][name], seen, name in active, name not in asked)
            for name in task_vars["groups"].get(group, [])
        ]

    def _host(self, name: str, variables: Mapping[str, Any], seen: str, in_play: bool, limited: bool) -> HostSeen:
        answer = variables.get(seen) or {}
        settings: Any = answer.get("settings") or {}
        findings = tuple(Finding(**found) for found in answer.get("findings") or ())
        observation, asked = None, answer.get("asked")
        if not any(found.refuses for found in findings):
            unreachable = lost(answer, in_play, limited)
            observation, wrong = (None, (unreachable,)) if unreachable else understood(answer.get("observation"))
            findings += wrong
        lock = answer.get("lock") or {}
        if lock.get("id") and not is_gone(lock):
            found = f"{lock.get('who')} works here since {lock.get('since')}"
            findings += (finding("HOST_LOCKED", found=found, expected="one controller at a time"),)
        run = settings.get("training_run") or self._run(variables, name)
        times = (asked[0], asked[1]) if asked else None
        choice = Choice(**answer["choice"]) if answer.get("choice") else None
        address = reached_at(variables, self._templar.template)
        own_rate = "run_config_lr" in variables
        return HostSeen(name, str(run), settings, observation, findings, times, choice, address, own_rate)

    def _run(self, variables: Mapping[str, Any], name: str) -> Any:
        """The run of a host whose settings are not known."""
        if "training_run" in given_by_host(variables):
            return name  # no run of others
        try:
            return self._templar.template(variables.get("training_run", name))
        except AnsibleError:
            return name

    def _show(self, plan: Plan, what: str) -> None:
        width = page.width()
        if what == "nothing":
            page.show("\n".join(findings_of(plan, of_reach.ENTRIES, width)).rstrip())
        elif what == "plan":
            page.show(plan_text(plan, width))
        else:
            page.show("\n".join(ending(plan, width)))

    def _write(self, plan: Plan, path: str) -> None:
        """For another program. A relative path begins where ansible-playbook was called. Raises FleetError."""
        target = Path(os.path.abspath(os.path.expanduser(path)))
        text = json.dumps(plan_data(plan), indent=2, ensure_ascii=False) + "\n"
        try:
            files.write(target, text.encode("utf-8", "replace"))
        except OSError as error:
            found = f"{target}: {error.strerror or error}"
            raise FleetError("the plan cannot be written", variable="fleet_plan_file", found=found) from error
        page.show(f"The plan as JSON: {target}")
