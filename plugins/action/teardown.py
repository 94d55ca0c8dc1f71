"""Fill the settings of a host, remove canvas-fleet from it, and print what was removed and what stays."""

from __future__ import annotations

import os
from typing import Any

from ..module_utils.core.progress import amount
from ..plugin_utils.role_action import RoleAction


class ActionModule(RoleAction):
    """The same settings as all roles were made with."""

    _VALID_ARGS = frozenset(("show",))

    def work(self) -> dict[str, Any]:
        result = self.module(settings=self.settings)
        if "kept" in result and self._task.args.get("show", True):
            for line in _report(self.host, result, self._task.check_mode):
                self.show(line)
        return result


def _report(host: str, result: dict[str, Any], check: bool) -> list[str]:
    """`atlas  removed 14 parts, 31 MB`, and a line for each part that stays."""
    removed, kept = result["removed"], result["kept"]
    size = amount(sum(part["bytes"] for part in removed), "B")
    lines = [f"{host}  {'would remove' if check else 'removed'} {len(removed)} parts, {size}"]
    alike: dict[tuple[str, str, str], list[str]] = {}
    for part in kept:
        alike.setdefault((os.path.dirname(part["path"]), part["why"], part["also"]), []).append(part["path"])
    for (folder, why, also), paths in alike.items():
        what = paths[0] if len(paths) == 1 else f"{len(paths)} in {folder}"
        lines.append(f"  {host}  kept {what}: {why}{f'  (fleet_teardown_include: {also})' if also else ''}")
    return lines
