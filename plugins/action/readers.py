# SPDX-License-Identifier: Apache-2.0
"""Gives and takes the right to read results and journal, from the host's settings."""

from __future__ import annotations

from typing import Any

from ..plugin_utils.role_action import RoleAction


class ActionModule(RoleAction):
    """One host's readers. A group holds from the next login on, so that Ansible's open connection is begun anew."""

    def work(self) -> dict[str, Any]:
        result = self.module(settings=self.settings)
        if result.get("changed") and not self._task.check_mode:
            self._connection.reset()
        return result
