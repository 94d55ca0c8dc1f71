# SPDX-License-Identifier: Apache-2.0
"""Brings a training to a state, waiting for the save before a stop, or waits for the first step of a start.

Not both in one task: the first step of a run needs all of its hosts, and a task may have fewer workers than those.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.roles.training import table as report_status
from ..plugin_utils.retry import retry_connection
from ..plugin_utils.run_secret import secret_of

display = Display()
POLL = 2.0  # seconds between two looks
EVERY = 10.0  # seconds between two lines
PATIENCE = 60.0  # seconds that a lost connection is tolerated, when fleet_reconnect_timeout does not say


class ActionModule(ActionBase):
    """One host's training."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._host = str(self._vars.get("inventory_hostname", ""))
        self._patience = float(self._templar.template(self._vars.get("fleet_reconnect_timeout", PATIENCE)))
        arguments = dict(self._task.args)
        if arguments.get("state") == "awaited" and not self._task.check_mode:
            return {"changed": False, "steps": [], "findings": [], **self._started(arguments)}
        if (arguments.get("topology") or {}).get("new_secret") and arguments.get("state") not in ("absent", "queried"):
            folder = str(vars(constants)["DEFAULT_LOCAL_TMP"])
            arguments["peer_secret"] = secret_of(str(arguments.get("run", "")), folder)
        first = answer = self._module(arguments)
        steps = list(answer.get("steps", []))
        while answer.get("waiting") == "stop" and self._stopped(arguments):
            answer = self._module(arguments)
            steps += answer.get("steps", [])
        result = {**answer, "steps": steps, "changed": bool(steps)}
        if "diff" in first:
            result["diff"] = first["diff"]
        return result

    def _stopped(self, arguments: dict[str, Any]) -> bool:
        """Waits until the unit has stopped."""
        self._watch(arguments, lambda told: told["phase"] != "stopping")
        return True

    def _started(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Waits for the first step, or for the failure of the start."""

        def over(told: dict[str, Any]) -> bool:
            state = told["unit_state"]
            moves = state["active"] in ("activating", "deactivating")
            return not moves or told["phase"] == "restarting" or bool(state["restarts"])

        training = self._watch(arguments, over)
        if training["phase"] in ("running", "finished") and not training["unit_state"]["restarts"]:
            return {"training": training, "waiting": ""}
        return {"training": training, "waiting": "", "failed": True, "msg": report_status.failed_start(training)}

    def _watch(self, arguments: dict[str, Any], over: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Asks every few seconds until it is over; a line when something moved, and now and then."""
        shown, said = 0.0, ""
        while True:
            answer = self._module({**arguments, "state": "queried"})
            if "training" not in answer:
                raise AnsibleActionFail(str(answer.get("msg", answer)))
            training: dict[str, Any] = answer["training"]
            if over(training):
                return training
            line = report_status.waiting_line(self._host, training)
            now = time.monotonic()
            if now - shown >= (EVERY if line != said else 6 * EVERY):
                display.display(f"  {line}")
                shown, said = now, line
            time.sleep(POLL)

    def _module(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The module's answer; a connection that is lost is tried again for fleet_reconnect_timeout seconds."""
        return retry_connection(
            lambda: dict(self._execute_module(module_args=arguments, task_vars=self._vars)),
            self._connection.reset,
            seconds=self._patience,
            clock=time,
            show=lambda text: display.display(f"  {self._host}  {text}"),
            given_up=f"no connection to the host for {self._patience:.0f} s; its unit goes on with what it was told",
        )
