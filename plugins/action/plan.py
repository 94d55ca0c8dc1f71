"""Gather what every host reported, plan, print. Runs on the controller and opens no connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.canvas.fleet.plugins.module_utils import (
    canvas_code,
    conda_env,
    dataset,
    fleet_agent,
    nvidia,
    run_config,
    training,
    weights,
)
from ansible_collections.canvas.fleet.plugins.module_utils.findings import Finding, finding
from ansible_collections.canvas.fleet.plugins.module_utils.plan import HostSeen, Plan, make_plan
from ansible_collections.canvas.fleet.plugins.module_utils.report import finding_lines, plan_text, summary_line

DECIDE = {
    "fleet_agent": fleet_agent.decide,
    "nvidia": nvidia.decide,
    "conda_env": conda_env.decide,
    "canvas_code": canvas_code.decide,
    "dataset": dataset.decide,
    "weights": weights.decide,
    "run_config": run_config.decide,
    "training": training.decide,
}


def lost(result: Mapping[str, Any], in_play: bool) -> Finding | None:
    """Why a host was not observed, or None when it was."""
    text = " ".join(str(result.get("msg", "")).split())
    if result.get("unreachable"):
        if "HOST IDENTIFICATION HAS CHANGED" in text or "Host key verification failed" in text:
            return finding("HOST_KEY_CHANGED", found=text, expected="the host key that is pinned in known_hosts")
        return finding("HOST_UNREACHABLE", found=text, expected="an answer over SSH")
    if result.get("failed"):
        return finding("HOST_UNREACHABLE", found=f"host_info failed: {text}", expected="an observation")
    if not in_play or not result:
        return finding(
            "HOST_MISSING",
            found="left out by --limit, or lost or failed earlier in this play",
            expected="every host of the run",
        )
    return None


class ActionModule(ActionBase):
    """One plan for all hosts, so the task that calls this is run once."""

    _supports_check_mode = True
    _requires_connection = False
    _VALID_ARGS = frozenset(("seen", "group", "show"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        plan = make_plan(
            self._hosts(task_vars, args.get("group", "trainers"), args.get("seen", "__fleet_seen")), DECIDE
        )
        self._show(plan, args.get("show", "plan"), args.get("format", "table"))
        return {**result, "changed": False, **plan.as_dict()}

    def _hosts(self, task_vars: dict[str, Any], group: str, seen: str) -> list[HostSeen]:
        active = set(task_vars.get("ansible_play_hosts", []))
        return [
            self._host(name, task_vars["hostvars"][name], seen, name in active)
            for name in task_vars["groups"].get(group, [])
        ]

    def _host(self, name: str, variables: Mapping[str, Any], seen: str, in_play: bool) -> HostSeen:
        told = variables.get(seen) or {}
        settings = told.get("settings") or {}
        gone = lost(told, in_play)
        findings = [Finding(**found) for found in told.get("findings") or ()]
        run = settings.get("training_run") or self._templar.template(variables.get("training_run", name))
        return HostSeen(
            name=name,
            run=str(run),
            settings=settings,
            observation=None if gone or findings else told["observation"],
            findings=(*findings, gone) if gone and not findings else tuple(findings),
        )

    def _show(self, plan: Plan, what: str, form: str) -> None:
        if what == "nothing":
            return
        if form == "json":
            text = json.dumps(plan.as_dict(), indent=2, default=str)
        elif what == "plan":
            text = plan_text(plan)
        else:
            lines = [line for found in plan.findings for line in (*finding_lines(found), "")]
            text = "\n".join([*lines, summary_line(plan)])
        Display().display("\n" + text + "\n")
