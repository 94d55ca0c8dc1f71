# SPDX-License-Identifier: Apache-2.0
"""Asks for a training's state, once or until it has ended, and tolerates a lost connection for a while."""

from __future__ import annotations

from typing import Any

from ..module_utils.core import wire
from ..module_utils.roles.training import table as report_status
from ..module_utils.roles.training.report import Report
from ..module_utils.roles.training.results import result_of
from ..plugin_utils.role_action import RoleAction

POLL = 5.0  # seconds between two looks
EVERY = 10.0  # seconds between two lines; six times as many when nothing moves
GOES_ON = "a running training goes on there"


class ActionModule(RoleAction):
    """One host's training."""

    def work(self) -> dict[str, Any]:
        follow = bool(self.settings["training_follow"])
        last = self._planned_end() if follow else None
        answer = {"training": last} if last else self._watch() if follow else self._asked()
        if "training" not in answer:
            return answer
        return self._result(wire.from_dict(Report, answer["training"]), follow)

    def _planned_end(self) -> dict[str, Any] | None:
        """The end of a training, as the plan saw it: nobody has to ask for it again."""
        end: dict[str, Any] | None = self.plan.get("roles", {}).get("training", {}).get("values", {}).get("last")
        return end

    def _watch(self) -> dict[str, Any]:
        """Asks every few seconds until the training is over. Prints a line at each change, and from time to time."""
        shown, last_line = 0.0, ""
        while True:
            answer = self._asked()
            if "training" not in answer:
                return answer
            training = wire.from_dict(Report, answer["training"])
            line, over = report_status.progress_line(self.host, training), training.phase in report_status.ENDED
            now = self.clock.monotonic()
            if line != last_line and (over or now - shown >= EVERY):
                self.show(line)
                shown, last_line = now, line
            elif now - shown >= 6 * EVERY:
                self.show(f"{line}  (no new step for {round(now - shown)} s)")
                shown = now
            if over:
                return answer
            self.clock.sleep(POLL)

    def _asked(self) -> dict[str, Any]:
        return self.patiently(GOES_ON, "training_unit", state="queried", settings=self.settings, topology=self.topology)

    def _result(self, training: Report, follow: bool) -> dict[str, Any]:
        rank = int(self.topology["node_rank"])
        row = report_status.row(training, self.host, rank)
        problems = report_status.verdict(training, rank) if follow else []
        found = result_of(training, self.settings, rank)
        result = {
            "changed": False,
            "result": wire.to_dict(found) if found else None,
            "training": wire.to_dict(training),
            "row": wire.to_dict(row),
            "problems": problems,
        }
        if problems:
            lines = "".join(f"\n  {line}" for line in (training.failure.lines if training.failure else ()))
            result.update(failed=True, msg=f"run {training.run} ended with problems: {'; '.join(problems)}{lines}")
        return result
