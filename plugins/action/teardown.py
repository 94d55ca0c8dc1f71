"""Fill the settings of a host, take canvas-fleet off it, and print what went and what stays."""

from __future__ import annotations

import os
from typing import Any

from ansible.utils.display import Display

from ..module_utils.core.progress import amount
from .run_files import ActionModule as RunFiles


class ActionModule(RunFiles):
    """The same settings as all roles were made with."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        if "kept" in result and self._task.args.get("show", True):
            Display().display(_told((task_vars or {})["inventory_hostname"], result, self._task.check_mode))
        return result


def _told(host: str, result: dict[str, Any], check: bool) -> str:
    """`  atlas  removed 14 parts, 31 MB`, and a line for each part that stays."""
    removed, kept = result["removed"], result["kept"]
    size = amount(sum(part["bytes"] for part in removed), "B")
    lines = [f"  {host}  {'would remove' if check else 'removed'} {len(removed)} parts, {size}"]
    alike: dict[tuple[str, str, str], list[str]] = {}
    for part in kept:
        alike.setdefault((os.path.dirname(part["path"]), part["why"], part["also"]), []).append(part["path"])
    for (folder, why, also), paths in alike.items():
        what = paths[0] if len(paths) == 1 else f"{len(paths)} in {folder}"
        lines.append(f"  {host}  kept {what}: {why}{f'  (fleet_teardown_include: {also})' if also else ''}")
    return "\n".join(lines)
