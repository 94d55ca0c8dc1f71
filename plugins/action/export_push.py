# SPDX-License-Identifier: Apache-2.0
"""Pushes an export from the controller to the hub. No host has a part in it, so no program there can see the token."""

from __future__ import annotations

import os
from typing import Any

from ..module_utils.checkpoints import exports
from ..module_utils.core.errors import FleetError
from ..module_utils.system import files
from ..module_utils.system.digests import sha256
from ..plugin_utils.hub_push import Push, Target
from ..plugin_utils.role_action import RoleAction

CARD = "README.md"


class ActionModule(RoleAction):
    """`ready` says whether the hub would take it; `pushed` sends a folder that fetch.yml brought."""

    _requires_connection = False
    _supports_diff = False
    _VALID_ARGS = frozenset(("state", "folder", "card"))

    def work(self) -> dict[str, Any]:
        if int(self.topology["node_rank"]):
            return {"changed": False, "skipped": True, "skip_reason": "the first host of the run has the results"}
        self.doing = "push"
        repo, token = str(self.settings["export_push_to"]), str(self.secret("export_push_token") or "")
        if not token:
            raise FleetError(
                "a push needs a token",
                variable="export_push_token",
                found="none",
                expected=f"a token with the right to write to {repo}",
                remedy="make one in the hub's settings, and keep it in a vault",
            )
        target = Target(
            repo,
            str(self.settings["export_push_endpoint"]),
            bool(self.settings["export_push_private"]),
            float(self.settings["fleet_reconnect_timeout"]),
        )
        push = Push(target, token, self._line, self.clock)
        if str(self._task.args.get("state", "pushed")) == "ready":
            return self._ready(push, repo)
        if self._task.check_mode:
            return {"changed": True, "would": [f"push {self._task.args.get('folder')} to {repo}"]}
        return self._push(push, str(self._task.args["folder"]))

    def _ready(self, push: Push, repo: str) -> dict[str, Any]:
        if self._task.check_mode:
            there = push.exists()
            return {"changed": not there, "would": [] if there else [f"make the repository {repo}"]}
        return {"changed": push.ready()}

    def _push(self, push: Push, folder: str) -> dict[str, Any]:
        digests, name = exports.sums_in(folder), os.path.basename(folder)
        lacking = [
            one for one in digests if not files.stays_below(one) or not os.path.isfile(os.path.join(folder, one))
        ]
        if lacking or exports.RECORD not in digests:
            raise FleetError(
                "the folder to push is no whole export",
                found=f"{folder}: {', '.join(lacking[:3]) or exports.SUMS} is absent",
                remedy="fetch it again: playbooks/fetch.yml -e training_fetch=export",
            )
        if digests.get(CARD) != sha256(str(self._task.args.get("card", ""))):
            raise FleetError(
                "the model card that came from the host is not the one that was written here",
                found=f"{folder}/{CARD}",
                expected="the text of this export, since it is published in your name",
                remedy="look at what changed it on the host, then export again",
            )
        done = push.push(folder, digests, (exports.SUMS,), f"{self.settings['training_run']}, {name}")
        self._line(f"{done['url']}  {'is pushed' if done['changed'] else 'has all of it already'}")
        return done

    def _line(self, text: str) -> None:
        self.show(f"{self.host}  push  {text}")
