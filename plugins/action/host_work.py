# Copyright: canvas-fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Waits for long work on a host: polls it, shows rate and time left, and tolerates a lost connection for a while."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.core import progress, wire
from ..module_utils.core.errors import FleetError
from ..module_utils.core.progress import Step
from ..module_utils.core.settings import Settings, named
from ..module_utils.work.polled import Polled
from ..plugin_utils import answers
from ..plugin_utils.interrupt import noted
from ..plugin_utils.jobs import CREDENTIALS, JOBS, Job, logins, spec_of
from ..plugin_utils.role_action import RoleAction

SYSTEM_PYTHON = "/usr/bin/python3"
# Asked when the plugin is loaded: the forked worker that runs it has no terminal of its own.
LIVE = sys.stdout.isatty()
FIRST_LINE = 5.0  # seconds; shorter work prints nothing
LINE_EVERY = 3.0 if LIVE else 10.0
PERIODS = (0.5, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0)  # seconds between the first polls, then
PERIOD = 5.0


class ActionModule(RoleAction):
    """Long work on a host, from the settings that its job in jobs.py names."""

    _supports_diff = False
    _VALID_ARGS = frozenset(("worker", "name", "absent", "spec", "state"))

    def work(self) -> dict[str, Any]:
        args = self._task.args
        worker = str(args["worker"])
        absent = boolean(args.get("absent", False))
        self.doing = str(args.get("name") or (f"{worker}-absent".replace("_", "-") if absent else worker))
        state = str(args.get("state", "started"))
        try:
            order = self._order(JOBS[worker], dict(args.get("spec") or {}), absent)
        except FleetError as error:
            return {"failed": True, **error.as_result()}
        asked = {"worker": worker, "name": self.doing, "state": state, **order}
        if state != "started" or self._task.check_mode:
            return self.module(**asked)
        asked["request_id"] = uuid.uuid4().hex
        answer = self._patiently(asked)
        if "work" not in answer:
            return answer
        polling = {**asked, "state": "polled", "digest": _read(answer).digest, "spec": {}, "secrets": {}}
        with noted(self.host, self.doing):
            return self._wait(answer, {**polling, "environment": {}})

    def _order(self, job: Job, more: dict[str, Any], absent: bool) -> dict[str, Any]:
        """The module's arguments. Raises FleetError for a file of the controller that is not there."""
        settings = self.settings
        place = {name: self.topology[name] for name in job.topology}
        mode = {"absent": True} if absent else {}
        spec = {**spec_of(job, settings), **place, **mode, **more}
        environment = named(settings, job.environment) if job.environment else {}
        secrets = {name: self.secret(name) for name in job.secrets}
        if CREDENTIALS in secrets:
            secrets[CREDENTIALS] = logins(secrets[CREDENTIALS] or {}, [spec, environment], settings)
        return {
            "spec": spec,
            "secrets": secrets,
            "environment": environment,
            "python": _python(job, settings),
            "user": named(settings, job.user) if job.user else "root",
            "folders": [named(settings, name) for name in job.folders],
            "noun": job.noun,
            "state_dir": settings["fleet_state_dir"],
            "system_ca": bool(settings["fleet_ca_bundle"]),
        }

    def _wait(self, answer: dict[str, Any], polling: dict[str, Any]) -> dict[str, Any]:
        begun = shown = self.clock.monotonic()
        periods = iter(PERIODS)
        while "work" in answer and (work := _read(answer)).phase == "running":
            now = self.clock.monotonic()
            if now - begun >= self.settings["fleet_work_timeout"]:
                return self._failed(self._too_long(now - begun), ())
            if now - begun >= FIRST_LINE and (now - shown >= LINE_EVERY or shown == begun):
                self._show(work, str(polling.get("noun") or ""))
                shown = now
            self.clock.sleep(next(periods, LINE_EVERY if LIVE else PERIOD))
            answer = self._patiently(polling)
        return self._ended(answer) if "work" in answer else answer

    def _too_long(self, seconds: float) -> FleetError:
        return FleetError(
            f"the work {self.doing} has not ended within {seconds / 3600:.1f} h",
            variable="fleet_work_timeout",
            found=f"its unit canvas-work-{self.doing} goes on",
            expected="an end of the work in this time",
            remedy=f"look at it (systemctl status canvas-work-{self.doing}); the next converge attaches to it",
        )

    def _show(self, work: Polled, noun: str) -> None:
        begun = work.progress != Step()
        text = progress.line(progress.reading(vars(work.progress), work.now), noun) if begun else "works"
        self.show(f"{self.host}  {self.doing}  {text}")

    def _ended(self, answer: dict[str, Any]) -> dict[str, Any]:
        work = _read(answer)
        if work.result and work.result.ok:
            return answers.of_worker(self._task.args["worker"], answer["work"]["result"].get("result"))
        if work.result:
            return self._failed(FleetError.from_dict(work.result.error), work.log if work.result.unexpected else ())
        if work.phase == "killed":
            error = FleetError(
                f"the work {self.doing} did not finish",
                found=f"its unit {work.unit} ended without a result ({work.unit_result})",
                remedy="run the converge again; it continues where it was cut",
            )
        else:
            error = FleetError(
                f"the work {self.doing} was taken over", found="another controller started other work under this name"
            )
        return self._failed(error, work.log)

    def _failed(self, error: FleetError, log: Sequence[str]) -> dict[str, Any]:
        tail = ("\nlast lines of its log:\n  " + "\n  ".join(log)) if log else ""
        return {"failed": True, **error.as_result(), "msg": f"{error}{tail}"}

    def _patiently(self, asked: dict[str, Any]) -> dict[str, Any]:
        goes_on = (
            f"the work {self.doing} goes on there if it was started (unit canvas-work-{self.doing}); the next "
            "converge attaches to it"
        )
        return self.patiently(goes_on, **asked)


def _python(job: Job, settings: Settings) -> str:
    if job.python_of:
        return f"{named(settings, job.python_of)}/bin/python"
    return str(named(settings, job.python)) if job.python else SYSTEM_PYTHON


def _read(answer: dict[str, Any]) -> Polled:
    """Raises FleetError for what no host of ours answers."""
    try:
        return wire.from_dict(Polled, answer["work"], "work")
    except wire.MalformedError as error:
        found = f"{error.place}: {error.found}"
        raise answers.refused(found, error.expected) from None
