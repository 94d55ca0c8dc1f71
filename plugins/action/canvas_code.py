# SPDX-License-Identifier: Apache-2.0
"""Updates the trainer's code. Sends the controller's files if they are the source and differ."""

from __future__ import annotations

import os
from typing import Any

from ..module_utils.core.settings import Settings
from ..module_utils.roles.canvas_code import copy as code_copy
from ..module_utils.system import files, folders
from ..plugin_utils.jobs import CREDENTIALS, logins
from ..plugin_utils.role_action import RoleAction


class ActionModule(RoleAction):
    """Asks first, so a copy that is in sync costs one call and no transfer."""

    needs_profile = True

    def work(self) -> dict[str, Any]:
        if self.settings["canvas_code_source"] != "controller":
            named = ("canvas_code_", "conda_env_environment", "dataset_environment")  # git uses the host's proxy, too
            own = [value for name, value in self.settings.items() if name.startswith(named)]
            given = logins(self.secret(CREDENTIALS) or {}, own, self.settings)
            return self.module(settings=self.settings, credentials=given)
        folder = str(self.settings["canvas_code_controller_path"])
        found = code_copy.scan(folder, self.settings["canvas_code_controller_exclude"])
        prefix = _prefix(folder, self.settings)
        manifest = {os.path.join(prefix, path): digest for path, digest in found.items()}
        result = self.module(settings=self.settings, manifest=manifest)
        if not result.get("needs_archive"):
            return result
        archive = self._sent(code_copy.pack(folder, found, prefix))
        return self.module(settings=self.settings, manifest=manifest, archive=archive)

    def _sent(self, content: bytes) -> str:
        """The path on the host of a file with this content, which is removed at the end of the task."""
        base: Any = self  # ansible's own methods carry no types
        shell = base._connection._shell
        # The folder of the first call, if it needed one; cleanup() removes it at the end of the task.
        place: str = shell.join_path(shell.tmpdir or base._make_tmp_path(), "code.tar.gz")
        with folders.temporary() as own:
            packed = os.path.join(own, "code.tar.gz")
            files.write(packed, content, 0o600, durable=False)
            base._transfer_file(packed, place)
        return place


def _prefix(folder: str, settings: Settings) -> str:
    """Where the folder's files go below the checkout: the folder may be the repository, or BAGEL-Canvas alone."""
    place = os.path.relpath(settings["canvas_code_dir"], settings["canvas_code_checkout"])
    return place if code_copy.inner(folder) == "" else ""
