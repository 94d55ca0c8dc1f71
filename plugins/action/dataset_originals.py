# Copyright: canvas-fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Looks at the controller's parquet files once for all hosts, then lets the module look at the host."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.core.errors import FleetError
from ..module_utils.roles.dataset import controller as dataset_controller
from ..module_utils.roles.dataset.inspect import refuse
from ..module_utils.roles.dataset.record import layout


class ActionModule(ActionBase):
    """Refuses bad data on the controller, before anything is sent."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        settings = dict(arguments.get("settings") or {})
        try:
            paths = layout(settings)
            found = dataset_controller.facts(settings, self._loader.path_dwim)
            inspection = dataset_controller.inspected(found)
            if inspection:
                refuse(inspection, settings)
        except FleetError as error:
            return {**result, "failed": True, "msg": str(error)}
        settings["dataset_controller"] = found
        arguments["settings"] = settings
        result.update(self._execute_module("canvas.fleet.dataset_originals", arguments, task_vars=task_vars))
        lacking = [kind for kind in result.get("lacking", ()) if kind in found]
        result["copies"] = [{"src": found[kind]["path"], "dest": str(paths.originals[kind])} for kind in lacking]
        result["controller"] = found
        return result
