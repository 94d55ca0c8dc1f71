"""Fill the settings of a host, and bring the controller's files along where they are the source and differ."""

from __future__ import annotations

import os
from typing import Any

from ..module_utils.roles.canvas_code import copy as code_copy
from ..module_utils.system import files, folders
from .run_files import ActionModule as RunFiles


class ActionModule(RunFiles):
    """Asks first, sends second: a copy that is right already costs one call and no transfer."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        settings, wrong = self._typed(task_vars)
        if wrong:
            return wrong
        if settings["canvas_code_source"] != "controller":
            return self._module({"settings": settings}, task_vars)
        folder = str(settings["canvas_code_controller_path"])
        manifest = code_copy.scan(folder, settings["canvas_code_controller_exclude"])
        prefix = _prefix(folder, settings)
        told = {os.path.join(prefix, path): digest for path, digest in manifest.items()}
        args = {"settings": settings, "manifest": told}
        result = self._module(args, task_vars)
        if not result.get("needs_archive"):
            return result
        return self._send(folder, manifest, prefix, args, task_vars)

    def _send(
        self, folder: str, manifest: dict[str, str], prefix: str, args: dict[str, Any], task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        base: Any = self  # ansible's own methods carry no types
        shell = base._connection._shell
        # The folder of the first call, if it needed one; cleanup() removes it at the end of the task.
        place = shell.join_path(shell.tmpdir or base._make_tmp_path(), "code.tar.gz")
        with folders.temporary() as own:
            packed = os.path.join(own, "code.tar.gz")
            files.write(packed, code_copy.pack(folder, manifest, prefix), 0o600, durable=False)
            base._transfer_file(packed, place)
        return self._module({**args, "archive": place}, task_vars)


def _prefix(folder: str, settings: dict[str, Any]) -> str:
    """Where the folder's files go below the checkout: the folder may be the repository, or BAGEL-Canvas alone."""
    place = os.path.relpath(settings["canvas_code_dir"], settings["canvas_code_checkout"])
    return place if code_copy.inner(folder) == "" else ""
