# SPDX-License-Identifier: Apache-2.0
"""Restores an older checkpoint on the first host of a run. The others follow at the next start."""

from __future__ import annotations

from typing import Any

from ..plugin_utils.role_action import RoleAction


class ActionModule(RoleAction):
    """Nothing is to be done on a host of a higher rank."""

    def work(self) -> dict[str, Any]:
        if int(self.topology["node_rank"]):
            return {"changed": False, "skipped": True, "skip_reason": "the first host of the run restores for all"}
        return self.module(settings=self.settings)
