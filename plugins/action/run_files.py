"""Fill the settings of a host from all roles' specs, then write what its trainer is told."""

from __future__ import annotations

from typing import Any

from ..module_utils.core.errors import FleetError, raise_for
from .host_info import ActionModule as HostInfo


class ActionModule(HostInfo):
    """The same settings as host_info reads with, so that what is written is what was planned."""

    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        settings, wrong = self._typed(task_vars)
        return wrong or self._module({**self._task.args, "settings": settings}, task_vars)

    def _typed(self, task_vars: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The settings, and the result of a failed task when one of them has no meaning."""
        settings, findings = self._settings(task_vars)
        try:
            raise_for(findings, ("VARIABLE_INVALID",))
        except FleetError as error:
            return settings, {"failed": True, "changed": False, **error.as_result()}
        return settings, {}

    def _module(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(module_args=args, task_vars=task_vars)
        result.pop("invocation", None)
        return result
