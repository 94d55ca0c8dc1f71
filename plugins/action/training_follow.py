# SPDX-License-Identifier: Apache-2.0
"""Looks at a training from outside, once or until it has ended, and outlives a lost connection for a while."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.roles.training import table as report_status
from ..plugin_utils.retry import retry_connection

display = Display()
MODULE = "canvas.fleet.training_unit"
OWN = ("follow", "rank", "poll", "every", "retry")


class ActionModule(ActionBase):
    """One host's training."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._host = str(self._vars.get("inventory_hostname", ""))
        given = dict(self._task.args)
        own = {name: given.pop(name) for name in OWN if name in given}
        self._arguments = {**given, "state": "queried"}
        self._rank = int(own.get("rank", 0))
        self._poll, self._every = float(own.get("poll", 5)), float(own.get("every", 10))
        self._patience = float(own.get("retry", 60))
        follow = str(own.get("follow", False)).lower() in ("true", "yes", "1", "on")
        answer = self._watch() if follow else self._ask()
        if "training" not in answer:
            return answer
        return self._result(answer["training"], follow)

    def _watch(self) -> dict[str, Any]:
        """Asks every few seconds until the training is over; a line when something moved, and at least now and then."""
        shown, said = 0.0, ""
        while True:
            answer = self._ask()
            if "training" not in answer:
                return answer
            line = report_status.progress_line(self._host, answer["training"])
            over = answer["training"]["phase"] in report_status.ENDED
            now = time.monotonic()
            if line != said and (over or now - shown >= self._every):
                display.display(f"  {line}")
                shown, said = now, line
            elif now - shown >= 6 * self._every:
                display.display(f"  {line}  (no new step for {round(now - shown)} s)")
                shown = now
            if over:
                return answer
            time.sleep(self._poll)

    def _ask(self) -> dict[str, Any]:
        """The module's answer; a connection that is lost is tried again for `retry` seconds."""
        return retry_connection(
            self._query,
            self._connection.reset,
            seconds=self._patience,
            clock=time,
            show=lambda text: display.display(f"  {self._host}  {text}"),
            given_up=self._unreachable(),
        )

    def _query(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(MODULE, module_args=self._arguments, task_vars=self._vars)
        return answer

    def _unreachable(self) -> str:
        return f"no connection to the host for {self._patience:.0f} s; the training, if it runs, goes on there"

    def _result(self, training: dict[str, Any], follow: bool) -> dict[str, Any]:
        row = report_status.row(training, self._host, self._rank)
        problems = report_status.verdict(training, self._rank) if follow else []
        result = {"changed": False, "training": training, "row": row, "problems": problems}
        if problems:
            told = (training.get("failure") or {}).get("lines") or []
            lines = "".join(f"\n  {line}" for line in told)
            result.update(failed=True, msg=f"run {training['run']} did not end whole: {'; '.join(problems)}{lines}")
        return result
