# SPDX-License-Identifier: Apache-2.0
"""The model card of an export: what its host says, the settings, the plan."""

from __future__ import annotations

from typing import Any

from ..module_utils.core import wire
from ..module_utils.roles.export import card
from ..module_utils.roles.export.observe import Seen
from ..plugin_utils.render import Templates
from ..plugin_utils.role_action import RoleAction

GOES_ON = "nothing is changed there"
TEMPLATE = "README.md.j2"


class ActionModule(RoleAction):
    """Of the first host of a run, which has its results."""

    _supports_diff = False

    def work(self) -> dict[str, Any]:
        if int(self.topology["node_rank"]):
            return {"changed": False, "skipped": True, "skip_reason": "the first host of the run has the results"}
        self.doing = "export"
        answer = self.patiently(GOES_ON, state="queried", settings=self.settings)
        if "chosen" not in answer:
            return answer
        seen = wire.from_dict(Seen, answer["chosen"])
        planned = {"topology": self.topology, **{role: self._values(role) for role in ("canvas_code", "dataset")}}
        text = Templates()("export", TEMPLATE, card.values(seen, self.settings, planned))
        self.show(f"{self.host}  export  step {seen.step}, {card.KINDS[seen.kind]}")
        return {
            "changed": False,
            "chosen": wire.to_dict(seen),
            "spec": {"export_step": str(seen.step), "export_weights": seen.kind, "card": text},
        }

    def _values(self, role: str) -> dict[str, Any]:
        """What the plan says of a role; {} where there is none."""
        return dict(self.plan.get("roles", {}).get(role, {}).get("values") or {})
