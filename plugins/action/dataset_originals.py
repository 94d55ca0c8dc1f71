# SPDX-License-Identifier: Apache-2.0
"""Reads the controller's parquet files once for all hosts, then calls the module on the host."""

from __future__ import annotations

from typing import Any

from ..module_utils.core.topology import Topology
from ..module_utils.roles.dataset import controller as dataset_controller
from ..module_utils.roles.dataset import record
from ..module_utils.roles.dataset.inspect import refuse
from ..module_utils.roles.dataset.record import layout
from ..plugin_utils.role_action import RoleAction


class ActionModule(RoleAction):
    """Refuses bad data on the controller, before anything is sent."""

    def work(self) -> dict[str, Any]:
        settings, topology = self.settings, self.topology
        paths = layout(settings)
        found = dataset_controller.facts(settings, self._loader.path_dwim)
        inspection = dataset_controller.inspected(found)
        if inspection:
            refuse(inspection, settings, Topology.from_dict(topology))
        result = self.module(settings=dataset_controller.with_digests(settings, found), topology=topology)
        lacking = [kind for kind in result.get("lacking", ()) if kind in found]
        incoming = record.incoming(settings)
        copies = [{"src": found[kind].path, "dest": str(incoming / paths.originals[kind].name)} for kind in lacking]
        return {**result, "copies": copies, "digests": dataset_controller.digests_of(found)}
