# SPDX-License-Identifier: Apache-2.0
"""Brings the evaluation of a run to the controller, and makes its report: a table, data, and a page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..module_utils.core import wire
from ..module_utils.core.errors import FleetError
from ..module_utils.core.progress import amount
from ..module_utils.core.settings import named
from ..module_utils.evaluation import offer as offers
from ..module_utils.evaluation.offer import Offer, Piece
from ..module_utils.findings.finding import Finding
from ..module_utils.plan.findings_text import finding_lines
from ..module_utils.system import files
from ..plugin_utils import page as terminal
from ..plugin_utils.evaluation_report import not_shown, packages
from ..plugin_utils.evaluation_report.collect import Folder
from ..plugin_utils.role_action import RoleAction

GOES_ON = "nothing is changed there"
DATA, JSON, PAGE = "data", "evaluation.json", "index.html"
FEW = 5  # pictures that are named


class ActionModule(RoleAction):
    """Nothing is to be done on a host of a higher rank: the first one has the evaluation."""

    _supports_diff = False
    _VALID_ARGS = frozenset(("state",))

    def work(self) -> dict[str, Any]:
        state = str(self._task.args.get("state", "made"))
        if state != "fetched":
            packages.require()
        if state == "ready":
            return {"changed": False}
        if int(self.topology["node_rank"]):
            return {"changed": False, "skipped": True, "skip_reason": "the first host of the run has the evaluation"}
        self.doing, self.new = "evaluation", False
        self.folder = os.path.abspath(os.path.expanduser(str(named(self.settings, "evaluation_report_dir"))))
        return self._fetched() if state == "fetched" else self._brought(state)

    def _fetched(self) -> dict[str, Any]:
        """Whoever fetches a model has it already: what is wrong with the evaluation is reported, and fails nothing."""
        try:
            return self._brought("if_there")
        except (FleetError, OSError) as error:
            if getattr(error, "code", "") == "HOST_ANSWER_MALFORMED":
                raise
            return {"changed": self.new, "findings": [self._report(not_shown.of_error(self.host, error))]}

    def _brought(self, state: str) -> dict[str, Any]:
        offer = self._offer()
        if not not_shown.parts_of(one.name for one in offer.files):
            return self._absent(state)
        packages.require()
        return self._made(offer)

    def _made(self, offer: Offer) -> dict[str, Any]:
        data = Folder(os.path.join(self.folder, DATA), self._line, self.clock)
        lacking = data.lacking(offer)
        names = [one.name for one in lacking]
        brought = f"{amount(sum(one.size for one in lacking), 'B')} in {len(lacking)} of {len(offer.files)} files"
        self._line(brought if lacking else f"all {len(offer.files)} files are here already")
        if self._task.check_mode and lacking:
            return {"changed": True, "brought": names, "findings": []}
        if not self._task.check_mode:
            self.new = bool(lacking)
            data.bring(lacking, self._pieces)
            self._warn(offer, data)
        return {"brought": names, **self._written(data.path, offer)}

    def _offer(self) -> Offer:
        answer = self.patiently(GOES_ON, state="queried", settings=self.settings)
        if "offer" not in answer:
            raise _refused(answer, "the host makes no offer")
        return offers.checked(wire.from_dict(Offer, answer["offer"]))

    def _pieces(self, wanted: list[Piece]) -> Sequence[str]:
        asked = [wire.to_dict(one) for one in wanted]
        answer = self.patiently(GOES_ON, state="queried", settings=self.settings, wanted=asked)
        if "pieces" not in answer:
            raise _refused(answer, "the host gives no files")
        return list(answer["pieces"])

    def _absent(self, state: str) -> dict[str, Any]:
        if state == "if_there":
            return {"changed": False, "skipped": True, "skip_reason": "there is no evaluation yet"}
        raise FleetError(
            "there is no evaluation",
            variable="evaluation_dir",
            found=f"{named(self.settings, 'evaluation_dir')}: no evaluation",
            expected="what playbooks/evaluate.yml leaves there",
            remedy="run playbooks/evaluate.yml",
        )

    def _warn(self, offer: Offer, data: Folder) -> None:
        if offer.left_out:
            self._line(f"{offer.left_out} files are too large or too many, and are left out")
        for one in data.bad[:FEW]:
            self._line(f"left out, because it is no picture: {one}")
        if len(data.bad) > FEW:
            self._line(f"and {len(data.bad) - FEW} more that are no pictures")

    def _written(self, folder: str, offer: Offer) -> dict[str, Any]:
        """Writes data and page, and shows the table; a dry run only compares them."""
        from ..plugin_utils.evaluation_report import page, summary, table

        data = summary.collected(folder)
        lost = [*not_shown.damaged([one.name for one in offer.files], data)]
        found = [not_shown.of_parts(self.host, lost)] if lost else []
        if not data.parts:
            raise FleetError.of(found[0])
        made = summary.evaluation(str(self.settings["training_run"]), data)
        self._write(JSON, summary.as_json(made))
        self._write(PAGE, page.page(folder, data, made))
        paths = {"page": os.path.join(self.folder, PAGE), "json": os.path.join(self.folder, JSON)}
        if not self._task.check_mode:
            terminal.show(table.text(made, terminal.width()))
            self._line(f"the page: {paths['page']}")
        findings = [self._report(one) for one in found]
        return {"changed": self.new, **paths, "subjects": [one.name for one in made.subjects], "findings": findings}

    def _report(self, found: Finding) -> dict[str, Any]:
        terminal.show("\n".join(finding_lines(found, terminal.width())))
        return found.as_dict()

    def _write(self, name: str, text: str) -> None:
        path, data = os.path.join(self.folder, name), text.encode()
        try:
            if files.read(path, follow=False) == data:
                return
        except OSError:
            pass
        self.new = True
        if not self._task.check_mode:
            files.write(path, data)

    def _line(self, text: str) -> None:
        self.show(f"{self.host}  evaluation  {text}")


def _refused(answer: Mapping[str, Any], words: str) -> FleetError:
    """The error of the host, with its code where it has one."""
    given = answer.get("finding")
    return FleetError.from_dict(given) if given else FleetError(str(answer.get("msg") or words))
