# SPDX-License-Identifier: Apache-2.0
"""Brings a training to a state, waiting for the save before a stop, or waits for the first step of a start.

Not both in one task: the first step of a run needs all of its hosts, and a task may have fewer workers than those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail

from ..module_utils.core import wire
from ..module_utils.core.topology import Topology
from ..module_utils.roles.training import table as report_status
from ..module_utils.roles.training.report import Report
from ..module_utils.roles.training.unit_text import texts
from ..module_utils.roles.training.want import Want
from ..plugin_utils.render import Templates
from ..plugin_utils.role_action import RoleAction
from ..plugin_utils.run_secret import secret_of

POLL = 2.0  # seconds between two looks
EVERY = 10.0  # seconds between two lines
GOES_ON = "its unit carries out the last command"


class ActionModule(RoleAction):
    """One host's training."""

    _VALID_ARGS = frozenset(("state",))

    def work(self) -> dict[str, Any]:
        state = str(self._task.args.get("state") or self.settings["training_state"])
        if state == "awaited" and not self._task.check_mode:
            return {"changed": False, "steps": [], "findings": [], **self._started()}
        first = answer = self._asked(state)
        steps = list(answer.get("steps", []))
        while answer.get("waiting") == "stop":
            self._watch(lambda seen: seen.phase != "stopping")
            answer = self._asked(state)
            steps += answer.get("steps", [])
        result = {**answer, "steps": steps, "changed": bool(steps)}
        if "diff" in first:
            result["diff"] = first["diff"]
        return result

    def _started(self) -> dict[str, Any]:
        """Waits for the first step, or for the failure of the start."""

        def over(seen: Report) -> bool:
            moves = seen.unit_state.active in ("activating", "deactivating")
            return not moves or seen.phase == "restarting" or bool(seen.unit_state.restarts)

        training = self._watch(over)
        result = {"training": wire.to_dict(training), "waiting": ""}
        if training.phase in ("running", "finished") and not training.unit_state.restarts:
            return result
        return {**result, "failed": True, "msg": report_status.failed_start(training)}

    def _watch(self, over: Callable[[Report], bool]) -> Report:
        """Asks every few seconds until it is over. Prints a line at each change, and from time to time."""
        shown, last_line = 0.0, ""
        while True:
            answer = self._asked("queried")
            if "training" not in answer:
                raise AnsibleActionFail(str(answer.get("msg", answer)))
            training = wire.from_dict(Report, answer["training"])
            if over(training):
                return training
            line = report_status.waiting_line(self.host, training)
            now = self.clock.monotonic()
            if now - shown >= (EVERY if line != last_line else 6 * EVERY):
                self.show(line)
                shown, last_line = now, line
            self.clock.sleep(POLL)

    def _asked(self, state: str) -> dict[str, Any]:
        place, secret, written = self.topology, "", {}
        if state not in ("absent", "awaited", "queried"):
            written = asdict(texts(Want(self.settings, Topology.from_dict(place)), Templates()))
            secret = self._new_secret() if place.get("new_secret") else ""
        asked = {"settings": self.settings, "topology": place, "texts": written, "peer_secret": secret}
        return self.patiently(GOES_ON, state=state, **asked)

    def _new_secret(self) -> str:
        return secret_of(str(self.settings["training_run"]), str(vars(constants)["DEFAULT_LOCAL_TMP"]))
