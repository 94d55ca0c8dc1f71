# SPDX-License-Identifier: Apache-2.0
"""Looks at the GPUs of a host and prepares what they need, from the settings that the plan was made with."""

from __future__ import annotations

from typing import Any

from ..plugin_utils.role_action import RoleAction


class ActionModule(RoleAction):
    """One call of the module."""

    def work(self) -> dict[str, Any]:
        return self.module(settings=self.settings)
