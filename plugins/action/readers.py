# SPDX-License-Identifier: Apache-2.0
"""Gives and takes the right to read results and journal, from the host's settings."""

from __future__ import annotations

from typing import Any

from ..plugin_utils.role_action import RoleAction


class ActionModule(RoleAction):
    """One host's readers."""

    def work(self) -> dict[str, Any]:
        return self.module(settings=self.settings)
