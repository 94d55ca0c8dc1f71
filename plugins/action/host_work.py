# Copyright: canvas-fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Waits for long work on a host: polls it, shows rate and time left, and outlives a lost connection for a while."""

from __future__ import annotations

import sys
import time
import uuid
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.core import progress
from ..module_utils.core.errors import FleetError
from ..plugin_utils.retry import retry_connection

display = Display()
MODULE = "canvas.fleet.host_work"
# Asked when the plugin is loaded: the forked worker that runs it has no terminal of its own.
LIVE = sys.stdout.isatty()
FIRST_LINE = 5.0  # seconds; shorter work ends without a word
LINE_EVERY = 3.0 if LIVE else 10.0
PERIODS = (0.5, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0)  # seconds between the first polls, then
PERIOD = 5.0
DEFAULTS = {"fleet_state_dir": "/var/lib/canvas-fleet", "fleet_reconnect_timeout": 60, "fleet_ca_bundle": ""}


class ActionModule(ActionBase):
    """Long work on a host."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._host = str(self._vars.get("inventory_hostname", ""))
        arguments = dict(self._task.args)
        arguments.setdefault("state_dir", self._setting("fleet_state_dir"))
        arguments.setdefault("system_ca", bool(self._setting("fleet_ca_bundle")))
        self._name = str(arguments.get("name") or arguments.get("worker"))
        if arguments.get("state", "started") != "started" or self._task.check_mode:
            return self._module(arguments)
        arguments["request_id"] = uuid.uuid4().hex
        answer = self._patiently(arguments)
        if "work" not in answer:
            return answer
        polling = {**arguments, "state": "polled", "digest": answer["work"]["digest"], "spec": {}, "secrets": {}}
        return self._wait(answer, {**polling, "environment": {}})

    def _wait(self, answer: dict[str, Any], polling: dict[str, Any]) -> dict[str, Any]:
        begun = shown = time.monotonic()
        periods = iter(PERIODS)
        while answer.get("work", {}).get("phase") == "running":
            now = time.monotonic()
            if now - begun >= FIRST_LINE and (now - shown >= LINE_EVERY or shown == begun):
                self._show(answer["work"], str(polling.get("noun") or ""))
                shown = now
            time.sleep(next(periods, LINE_EVERY if LIVE else PERIOD))
            answer = self._patiently(polling)
        return self._ended(answer) if "work" in answer else answer

    def _show(self, work: dict[str, Any], noun: str) -> None:
        text = progress.line(progress.reading(work["progress"], work["now"]), noun) if work["progress"] else "works"
        display.display(f"  {self._host}  {self._name}  {text}")

    def _ended(self, answer: dict[str, Any]) -> dict[str, Any]:
        work = answer["work"]
        if work["phase"] == "ended" and work["result"]["ok"]:
            return {"changed": False, **work["result"]["result"]}
        if work["phase"] == "ended":
            error = FleetError.from_dict(work["result"]["error"])
            log = work["log"] if work["result"]["unexpected"] else []
            return self._failed(error, log)
        if work["phase"] == "killed":
            error = FleetError(
                f"the work {self._name} did not finish",
                found=f"its unit {work['unit']} is gone without a result ({work['unit_result']})",
                remedy="run the converge again; it continues where it was cut",
            )
        else:
            error = FleetError(
                f"the work {self._name} was taken over", found="another controller started other work under this name"
            )
        return self._failed(error, work.get("log", []))

    def _failed(self, error: FleetError, log: list[str]) -> dict[str, Any]:
        tail = ("\nlast lines of its log:\n  " + "\n  ".join(log)) if log else ""
        return {"failed": True, **error.as_result(), "msg": f"{error}{tail}"}

    def _patiently(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The module's answer; a connection that is lost is tried again for fleet_reconnect_timeout seconds."""
        retry = float(self._setting("fleet_reconnect_timeout"))
        return retry_connection(
            lambda: self._module(arguments),
            self._connection.reset,
            seconds=retry,
            clock=time,
            show=lambda text: display.display(f"  {self._host}  {self._name}  {text}"),
            given_up=self._unreachable(retry),
        )

    def _unreachable(self, retry: float) -> str:
        return (
            f"no connection to the host for {retry:.0f} s; the work {self._name}, once started, goes on there "
            f"(unit canvas-work-{self._name}), and the next converge attaches to it"
        )

    def _module(self, arguments: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(MODULE, module_args=arguments, task_vars=self._vars)
        return answer

    def _setting(self, name: str) -> Any:
        return self._templar.template(self._vars.get(name, DEFAULTS[name]))
