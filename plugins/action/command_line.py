# SPDX-License-Identifier: Apache-2.0
"""Refuse a call that would do nothing and end with 0. Runs on the controller and opens no connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.release import __version__

from ..module_utils.plan.command_line import Command, slips
from ..module_utils.plan.findings_text import finding_lines
from ..plugin_utils import page


class ActionModule(ActionBase):
    """Run once, before the first play that asks a host."""

    _supports_check_mode = True
    _requires_connection = False
    _VALID_ARGS = frozenset(("tags", "one_run"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = task_vars or {}
        command = Command(
            sources=given.get("ansible_inventory_sources") or (),
            groups=given["groups"],
            chosen=given["ansible_play_hosts_all"],
            tags=given.get("ansible_run_tags") or (),
            skipped_tags=given.get("ansible_skip_tags") or (),
            known_tags=self._task.args.get("tags") or (),
            runs=self._runs(given) if self._task.args.get("one_run") else {},
            core=__version__,
        )
        found = [*slips(command)]
        if not found:
            return {**result, "changed": False}
        page.show("\n\n".join("\n".join(finding_lines(one, page.width())) for one in found))
        return {**result, "failed": True, "msg": f"Nothing was done: {', '.join(one.code for one in found)}."}

    def _runs(self, given: Mapping[str, Any]) -> dict[str, str]:
        """The run of each chosen host that trains; a run that cannot be read is its host's own, as in the plan."""
        chosen = set(given["ansible_play_hosts_all"])
        return {
            host: self._run(host, given["hostvars"][host])
            for host in given["groups"].get("trainers", ())
            if host in chosen
        }

    def _run(self, host: str, variables: Mapping[str, Any]) -> str:
        try:
            return str(variables.get("training_run", host))
        except AnsibleError:
            return host
