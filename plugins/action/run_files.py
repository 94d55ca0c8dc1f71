# SPDX-License-Identifier: Apache-2.0
"""Writes what the trainer of a host reads: the texts that the plan has made."""

from __future__ import annotations

from typing import Any

from ..plugin_utils.role_action import RoleAction


class ActionModule(RoleAction):
    """The W&B key is a separate argument, because the settings hold only its digest."""

    def work(self) -> dict[str, Any]:
        key, texts = self.secret("run_config_wandb_api_key"), self.planned("run_config")["texts"]
        return self.module(settings=self.settings, texts=texts, wandb_api_key=key)
