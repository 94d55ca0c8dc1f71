# SPDX-License-Identifier: Apache-2.0
"""The fleet table, printed once for all hosts of the inventory group, whether they answered or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.core import shown
from ..module_utils.core.wire import from_dict, to_dict
from ..module_utils.roles.training.report import Report
from ..module_utils.roles.training.table import Row, fleet_table, lost_row, row


class ActionModule(ActionBase):
    """Runs on the controller, once."""

    _supports_check_mode = True
    _requires_connection = False
    _VALID_ARGS = frozenset(("seen", "group"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        seen = str(self._task.args.get("seen", "__training_status"))
        names = task_vars["groups"].get(self._task.args.get("group", "trainers"), [])
        plans = (task_vars.get("__fleet_plan") or {}).get("hosts", {})
        rows = [self._row(name, task_vars["hostvars"][name], seen, plans.get(name) or {}) for name in names]
        Display().display(f"\n{shown.lines(fleet_table(rows))}\n")
        return shown.result({**result, "changed": False, "rows": to_dict(rows)})

    def _row(self, name: str, variables: Mapping[str, Any], seen: str, planned: Mapping[str, Any]) -> Row:
        answer = variables.get(seen) or {}
        if answer.get("row"):
            return from_dict(Row, answer["row"])
        report = planned.get("roles", {}).get("training", {}).get("values", {}).get("report")
        if report and not answer:
            return row(from_dict(Report, report), name, planned["topology"]["node_rank"])
        why = answer.get("msg") or "; ".join(f"{one['code']}: {one['found']}" for one in planned.get("findings", ()))
        return lost_row(name, str(variables.get("training_run", name)), " ".join(str(why or "not asked").split()))
