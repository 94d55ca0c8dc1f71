# SPDX-License-Identifier: Apache-2.0
"""Shows a training's log and journal as they come, a host's name before each line."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail

from ..module_utils.core import wire
from ..module_utils.roles.training.logs import BEGIN, News, cut
from ..module_utils.roles.training.table import ENDED
from ..plugin_utils.role_action import RoleAction

POLL = 2.0  # seconds between two looks
GOES_ON = "the training does not depend on it"


class ActionModule(RoleAction):
    """One host's lines, until its training has ended or a person ends this (Ctrl-C)."""

    _supports_diff = False

    def work(self) -> dict[str, Any]:
        seen, shown = News(), 0
        while True:
            asked = {"at": seen.at, "cursor": seen.cursor, "lines": int(self.settings["training_logs_lines"])}
            answer = self.patiently(GOES_ON, state="queried", settings=self.settings, **asked)
            if "news" not in answer:
                raise AnsibleActionFail(str(answer.get("msg") or "the host has no log"))
            seen = wire.from_dict(News, answer["news"])
            shown += self._print(seen)
            if seen.phase in ENDED or self._task.check_mode:
                return {"changed": False, "lines": shown, "phase": seen.phase}
            self.clock.sleep(POLL)

    def _print(self, news: News) -> int:
        if news.skipped and news.at != BEGIN:
            self.show(f"{self.host}  log      … {news.skipped} bytes are left out")
        shown = [*(("log", line) for line in cut(news.log)), *(("journal", line) for line in cut(news.journal))]
        for source, line in shown:
            self.show(f"{self.host}  {source:<7}  {line}")
        return len(shown)
