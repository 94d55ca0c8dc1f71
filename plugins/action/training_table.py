# SPDX-License-Identifier: Apache-2.0
"""The fleet table, printed once for all hosts of the inventory group, whether they answered or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils.core import shown
from ..module_utils.core.wire import MalformedError, from_dict, from_record, to_dict
from ..module_utils.machine.long_work import Work
from ..module_utils.plan.state import FAILED, JUDGED, NOT_ASKED
from ..module_utils.plan.works_text import work_lines
from ..module_utils.roles.training.report import Report
from ..module_utils.roles.training.results import Result
from ..module_utils.roles.training.table import Row, fleet_table, lost_row, row
from ..plugin_utils import calls, page


def _evaluated(rows: Sequence[Row]) -> list[str]:
    """The figures of each run's last evaluation."""
    return [shown.line(f"{one.host}  evaluated: {one.evaluation}") for one in rows if one.evaluation]


@dataclass(frozen=True)
class Running:
    """The part of a host's plan that is read here."""

    works: tuple[Work, ...] = ()


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
        plans: dict[str, Any] = (task_vars.get("__fleet_plan") or {}).get("hosts", {})
        rows = [self._row(name, task_vars["hostvars"][name], seen, plans.get(name) or {}) for name in names]
        answers = {name: task_vars["hostvars"][name].get(seen) or {} for name in names}
        models = [self._model(name, answers[name], plans.get(name) or {}) for name in names]
        lines = [*filter(None, models), *_evaluated(rows), *self._works(plans)]
        page.show("\n".join([fleet_table(rows, page.width()), *lines]))
        result |= {"changed": False, "rows": to_dict(rows)}
        if plans and not any(planned.get("state") == JUDGED for planned in plans.values()):
            result |= {"failed": True, "msg": "No host answered. The lines above say why."}
        return shown.result(result)

    def _model(self, name: str, answer: Mapping[str, Any], planned: Mapping[str, Any]) -> str:
        """Where the model of a finished run is, and how it comes home; "" for none, whatever the host says."""
        values = planned.get("roles", {}).get("training", {}).get("values", {})
        found = from_record(Result, answer.get("result") or (None if answer else values.get("result")))
        given = calls.inventories(tuple(context.CLIARGS.get("inventory") or ()))
        return found.lines(name, f"{given} {calls.playbook('fetch')}") if found else ""

    def _row(self, name: str, variables: Mapping[str, Any], seen: str, planned: Mapping[str, Any]) -> Row:
        """The line of a host, whatever it says: the other hosts' lines do not depend on it."""
        answer = variables.get(seen) or {}
        report = planned.get("roles", {}).get("training", {}).get("values", {}).get("report")
        errors = [one for one in planned.get("findings", ()) if one["severity"] == "error" and not one["accepted"]]
        why = answer.get("msg") or "; ".join(f"{one['code']}: {one['found']}" for one in errors)
        state = FAILED if answer.get("msg") else str(planned.get("state") or NOT_ASKED)
        try:
            if answer.get("row"):
                return from_dict(Row, answer["row"])
            if report and not answer:
                return row(from_dict(Report, report), name, planned["topology"]["node_rank"])
        except MalformedError as error:
            why, state = str(error), FAILED
        try:
            run = str(variables.get("training_run", name))
        except AnsibleError:
            run = name
        state = FAILED if state == JUDGED else state  # its part of the plan lacks the training
        return lost_row(name, run, " ".join(str(why).split()), state)

    def _works(self, plans: Mapping[str, Any]) -> list[str]:
        """The long work that runs on the hosts; of one whose words are malformed it is left out."""
        running = {name: from_record(Running, planned) or Running() for name, planned in plans.items()}
        lines = work_lines({name: one.works for name, one in running.items()}, page.width())
        return ["", *lines] if lines else []
