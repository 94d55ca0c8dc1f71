# SPDX-License-Identifier: Apache-2.0
"""Resolves a host's settings once by the specs of all roles, for one module call."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.core import shown
from ..module_utils.core.errors import FleetError, raise_for
from ..module_utils.core.settings import Settings
from ..module_utils.findings.finding import Finding, finding
from ..module_utils.plan.names import PLAN_NAMES
from ..module_utils.plan.settings import Option, cleaned, options_of, read, validator
from ..module_utils.system import files
from . import answers, controller, retry
from .interrupt import announce
from .inventory import given_by_host
from .retry import Clock, retry_connection

ROLES = Path(__file__).resolve().parents[2] / "roles"
# Without a plan before it, a role refuses these by itself: there is no value that it could work with.
UNUSABLE = ("VARIABLE_INVALID", "SECRET_MISPLACED")
display = Display()


class Specs(NamedTuple):
    """The roles' options and raw defaults (templates)."""

    options: dict[str, Option]
    defaults: dict[str, Any]


@cache
def load_specs() -> Specs:
    """Options of all roles, by variable name. Do not change it: all hosts share it."""
    loader = DataLoader()
    specs: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for folder in sorted(ROLES.iterdir()):
        spec = folder / "meta" / "argument_specs.yml"
        if spec.is_file():
            specs[folder.name] = yaml_load(files.read(spec).decode())
        values = folder / "defaults" / "main.yml"
        if values.is_file():
            defaults.update(loader.load_from_file(str(values), trusted_as_template=True) or {})
    options = options_of(specs)
    for option in options.values():
        validator(option)
    return Specs(options, defaults)


class RoleAction(ActionBase):
    """A role's task. `work` finds `settings`, typed, with secrets as digests; variables at the task override them."""

    _supports_check_mode = True
    _supports_diff = True
    _supports_async = False
    clock: Clock = time
    doing = ""  # named in lines on the terminal
    needs_profile = False  # it works by training_profile, which for auto only a plan knows
    before_plan = False  # it comes before a plan, which may choose anew where nothing is settled
    settings: Settings
    findings: list[Finding]
    choice: Mapping[str, Any] | None = None  # of the plan, where training_profile is auto

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self.variables: dict[str, Any] = task_vars or {}
        self.host = str(self.variables.get("inventory_hostname", ""))
        super().run(tmp, task_vars)
        resolved, self.findings = self._resolved()
        self.settings = cast("Settings", resolved)
        return shown.result(self._worked(), shown.PEOPLE)

    def _worked(self) -> dict[str, Any]:
        """The task's result. No text of an error goes another way, since nobody would have looked through it."""
        try:
            self.refuse()
            return self.work()
        except FleetError as error:
            return {"failed": True, "changed": False, **error.as_result()}
        except AnsibleConnectionFailure as error:  # the host counts as unreachable
            raise AnsibleConnectionFailure(shown.lines(str(error))) from None
        except Exception as error:
            display.vvv(shown.lines(traceback.format_exc()))
            words = str(error) if isinstance(error, AnsibleError) else f"{type(error).__name__}: {error}"
            return {"failed": True, "changed": False, "msg": words}

    def refuse(self) -> None:
        """Raises FleetError for settings that the role cannot work with."""
        raise_for(self.findings, UNUSABLE)
        if self.needs_profile and self.settings.get("training_profile") == "auto":
            raise FleetError(
                "training_profile: auto is decided by the plan",
                variable="training_profile",
                found="auto, and no plan",
                expected="the role canvas.fleet.preflight before this one, or a profile by name",
            )

    def work(self) -> dict[str, Any]:
        """The task's result."""
        raise NotImplementedError

    def _resolved(self) -> tuple[dict[str, Any], list[Finding]]:
        """This host's typed settings, and what is wrong with them. No fact is a setting."""
        options, defaults = load_specs()
        facts = {*options, *PLAN_NAMES} & given_by_host(self.variables)
        self.variables = {name: value for name, value in self.variables.items() if name not in facts}
        settings, found = read(options, defaults, self.variables, self._template)
        self.choice = self._choice(settings)
        settings.update(self.choice["settings"] if self.choice else {})
        return settings, [*found, *map(_no_fact, sorted(facts))]

    def _choice(self, settings: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What the plan put in the place of training_profile: auto; None before there is a plan."""
        made: dict[str, Any] | None = self.plan.get("choice") if settings.get("training_profile") == "auto" else None
        return made if made and (made["settled"] or not self.before_plan) else None

    def _template(self, raw: Any) -> Any:
        """A raw value with its Jinja text resolved. Raises ValueError, in words, where it can't be."""
        try:
            return self._with_defaults().template(raw)
        except AnsibleError as error:
            raise ValueError(" ".join(str(error.message).split())) from error

    def _with_defaults(self) -> Any:
        if not hasattr(self, "_own_templar"):
            known = {**load_specs().defaults, **self.variables}
            self._own_templar = self._templar.copy_with_new_env(available_variables=known)
        return self._own_templar

    def secret(self, name: str) -> Any:
        """A secret as it is used, for a module's no_log argument alone."""
        return cleaned(self._template(self.variables.get(name, load_specs().defaults.get(name))))

    @property
    def plan(self) -> dict[str, Any]:
        """The plan's part of this host, or `preflight_plan` if it is set; {} without a plan."""
        handed = self._template(self.variables.get("preflight_plan") or {})
        return dict(handed or (self.variables.get("__fleet_plan") or {}).get("hosts", {}).get(self.host) or {})

    @property
    def topology(self) -> dict[str, Any]:
        """This host's place in its run."""
        return self._planned("topology")

    def planned(self, role: str) -> dict[str, Any]:
        """The plan's values for this role on this host (RolePlan.values)."""
        return dict(self._planned("roles").get(role, {}).get("values", {}))

    def _planned(self, part: str) -> dict[str, Any]:
        found = self.plan.get(part)
        if not found:
            raise AnsibleActionFail(f"the {part} of the plan are needed: run canvas.fleet.preflight first")
        return dict(found)

    def module(self, name: str = "", /, **arguments: Any) -> dict[str, Any]:
        """The declared answer of a module; `name`: this action's by default."""
        name = name or type(self).__module__.rpartition(".")[2]
        me = self._controller(arguments)
        answer = self._answered(name, {**arguments, "controller": me})
        holder = answer.get("holder") or {}
        if me and holder.get("id") and controller.is_gone(holder):
            answer = self._answered(name, {**arguments, "controller": {**me, "over": holder["id"]}})
        if self._discovered_interpreter_key:  # Ansible looks for it again at each task that does not hand it on
            answer["ansible_facts"] = {self._discovered_interpreter_key: self._discovered_interpreter}
        return answer

    def _parse_returned_data(self, res: dict[str, Any], *more: Any) -> Any:
        """Ansible's own: a mapping, since 2.21 an object. What it shows while it reads is looked through before."""
        answers.within(sum(len(res.get(name, "")) for name in ("stdout", "stderr")))
        with answers.read_within():
            for name in {"stdout", "stderr"} & set(res):
                res[name] = shown.visible(res[name].replace("\r\n", "\n"))
            if "stdout" in res:
                res["stdout"] = answers.harmless(res["stdout"])
            try:
                return super()._parse_returned_data(res, *more)
            except (TypeError, ValueError, AttributeError, LookupError) as error:  # an object of Ansible's, but broken
                raise answers.refused(f"{type(error).__name__}: {error}", "objects that Ansible can read") from None

    def _answered(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        looks = name == "host_info" or arguments.get("state") in ("queried", "polled")
        with answers.bounded(), retry.answered_within(retry.ANSWER) if looks else nullcontext():
            answered = self._execute_module(f"canvas.fleet.{name}", module_args=arguments, task_vars=self.variables)
        return answers.of_module(name, answered)

    def _controller(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        """The controller for which the host is locked during a change; none in check mode and for an observation."""
        if self._task.check_mode or arguments.get("state") in ("awaited", "queried"):
            return {}
        seen = (self.variables.get("__fleet_seen") or {}).get("lock") or {}
        return {**controller.identity(), "seen": str(seen.get("last") or "")}

    def patiently(self, goes_on: str, name: str = "", /, **arguments: Any) -> dict[str, Any]:
        """The same; a lost connection is tried again for fleet_reconnect_timeout seconds. `goes_on`: what the host does
        meanwhile, in words."""
        seconds = float(self.settings["fleet_reconnect_timeout"])
        return retry_connection(
            lambda: self.module(name, **arguments),
            self._connection.reset,
            seconds=seconds,
            clock=self.clock,
            show=lambda text: self.show("  ".join(word for word in (self.host, self.doing, text) if word)),
            given_up=f"no connection to the host for {seconds:.0f} s; {goes_on}",
        )

    def show(self, text: str) -> None:
        """A line on the terminal while the task is at work."""
        display.display(f"  {shown.line(text)}")


def _no_fact(name: str) -> Finding:
    return finding(
        "VARIABLE_INVALID",
        variable=name,
        found=f"{name} among the facts of the host",
        expected="a value of the inventory",
        remedy="gather no such facts, and set inject_facts_as_vars = False in ansible.cfg",
    )


# Ansible imports the plugin before it forks a process for each host: what is read here is not read again in each.
load_specs()
announce()
