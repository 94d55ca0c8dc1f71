# SPDX-License-Identifier: Apache-2.0
"""Judges an evaluation on the first host of a run, before anything starts; says each reason against it."""

from __future__ import annotations

from typing import Any

from ..module_utils.core import wire
from ..module_utils.core.errors import FleetError, raise_for
from ..module_utils.machine.gpu import Gpu
from ..module_utils.plan.observation import understood
from ..module_utils.roles.evaluation.decide import decide, difference
from ..module_utils.roles.evaluation.observe import Observation
from ..plugin_utils.role_action import RoleAction

GOES_ON = "nothing is changed there"


class ActionModule(RoleAction):
    """Nothing is to be done on a host of a higher rank: the first one has the checkpoints."""

    _VALID_ARGS = frozenset[str]()

    def work(self) -> dict[str, Any]:
        if int(self.topology["node_rank"]):
            return {"changed": False, "skipped": True, "skip_reason": "the first host of the run evaluates"}
        self.doing = "evaluation"
        answer = self.patiently(GOES_ON, settings=self.settings)
        if "seen" not in answer:
            raise FleetError(str(answer.get("msg") or "the host does not answer"))
        seen = wire.from_dict(Observation, answer["seen"])
        decision = decide(seen, self.settings, self._gpus())
        refusing = [one for one in decision.findings if one.refuses]
        for one in refusing[1:]:  # the first is the task's own message
            self.show(f"{self.host}  {one.code}: {one.found}; expected: {one.expected}; {one.remedy}")
        raise_for(refusing)
        mode = str(self.settings["evaluation_mode"])
        return {
            "changed": False,
            "subjects": list(decision.subjects),
            "weights": {one.name: one.weights for one in decision.chosen},
            "diff": difference(seen, decision, mode),
        }

    def _gpus(self) -> tuple[Gpu, ...]:
        """As the plan of this play has seen them; none without a plan."""
        observation, _wrong = understood((self.variables.get("__fleet_seen") or {}).get("observation"))
        return observation.roles.nvidia.gpus if observation else ()
