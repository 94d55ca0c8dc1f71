# SPDX-License-Identifier: Apache-2.0
"""Runs one of Ansible's own modules on a host. What the host answers there is data, too."""

from __future__ import annotations

from typing import Any

from ansible.plugins.loader import action_loader

from ..plugin_utils import answers
from ..plugin_utils.role_action import RoleAction


class ActionModule(RoleAction):
    """Ansible would obey the facts of such an answer, and print its warnings raw."""

    _supports_diff = False
    _VALID_ARGS = frozenset(("module", "args"))

    def work(self) -> dict[str, Any]:
        name, task = str(self._task.args["module"]), self._task.copy()
        task.action, task.args = name, dict(self._task.args["args"])
        own = {"task": task, "connection": self._connection, "play_context": self._play_context}
        own |= {"loader": self._loader, "templar": self._templar, "shared_loader_obj": self._shared_loader_obj}
        plugin = action_loader.get(name, **own) or action_loader.get("ansible.legacy.normal", **own)
        plugin._parse_returned_data = self._parse_returned_data
        try:
            with answers.bounded():
                return answers.of_module("guarded", plugin.run(task_vars=self.variables))
        finally:
            plugin.cleanup()
