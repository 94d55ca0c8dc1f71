"""The evaluation of a host becomes a report on the controller: a table, data and a page, whatever the host says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.canvas.fleet.plugins.action import evaluation_report
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import offer as offers
from ansible_collections.canvas.fleet.plugins.plugin_utils import page as terminal

from tests.unit.support import actions, evaluations


class Host:
    """Answers as the module does, of a folder here."""

    def __init__(self, root: Path) -> None:
        self.results, self.home = root / "results", root / "home"
        self.results.mkdir()
        self.changes: dict[str, Any] = {}  # of an answer
        self.lost = 0  # connections to come
        self.asked = 0

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.lost:
            self.lost -= 1
            raise AnsibleConnectionFailure("timed out")
        places = (f"{self.results}/evaluation", str(self.results))
        if asked.get("wanted"):
            pieces = [wire.from_dict(offers.Piece, one) for one in asked["wanted"]]
            return {"changed": False, "pieces": list(offers.read(*places, pieces)), **self.changes}
        return {"changed": False, "offer": wire.to_dict(offers.offer(*places)), **self.changes}

    def report(self, check: bool = False, rank: int = 0, **arguments: Any) -> dict[str, Any]:
        settings = {
            "evaluation_dir": f"{self.results}/evaluation",
            "evaluation_report_dir": str(self.home),
            "training_results_dir": str(self.results),
            "training_run": "atlas",
        }
        made = actions.action(evaluation_report, iter(()), settings, check, **arguments)
        made._execute_module = lambda name, module_args, task_vars: self.answer(module_args)
        self.lines: list[str] = []
        made.show = self.lines.append
        return actions.run(made, preflight_plan={"topology": {**actions.TOPOLOGY, "node_rank": rank}})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def evaluated(host: Host) -> Host:
    evaluations.write(host.results / "evaluation", 3, {"base": 0.3, "0000040": 0.9})
    return host


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    pages: list[str] = []
    monkeypatch.setattr(terminal, "show", pages.append)
    return pages


def test_an_evaluation_becomes_a_report_and_a_second_call_changes_nothing(evaluated: Host, shown: list[str]) -> None:
    result = evaluated.report()
    assert (result["changed"], result["subjects"]) == (True, ["base", "0000040"])
    assert (result["page"], result["json"]) == (f"{evaluated.home}/index.html", f"{evaluated.home}/evaluation.json")
    assert json.loads(Path(result["json"]).read_text())["run"] == "atlas"
    assert Path(result["page"]).read_text().startswith("<!doctype html>")
    assert "Evaluation of atlas: 3 test rows" in shown[0]
    assert evaluated.lines[-1] == f"atlas  evaluation  the page: {result['page']}"
    before = {path: path.stat().st_mtime_ns for path in evaluated.home.rglob("*") if path.suffix in (".html", ".png")}
    again = evaluated.report()
    assert (again["changed"], again["brought"]) == (False, [])
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(shown) == 2, "the table is shown each time"


def test_a_dry_run_brings_nothing(evaluated: Host) -> None:
    result = evaluated.report(check=True)
    assert result["changed"] is True
    assert "base/loss/about.json" in result["brought"]
    assert not evaluated.home.exists()


def test_a_lost_connection_is_tried_again(evaluated: Host, shown: list[str]) -> None:
    evaluated.lost = 2
    assert evaluated.report()["changed"] is True


def test_where_there_is_none(host: Host) -> None:
    result = host.report()
    assert result["failed"] is True
    assert "there is no evaluation" in result["msg"]
    assert host.report(state="if_there")["skipped"] is True
    assert not host.home.exists()


def test_a_host_of_a_higher_rank_is_not_asked(host: Host) -> None:
    assert host.report(rank=1)["skipped"] is True
    assert host.asked == 0


def test_a_controller_is_looked_at_before_any_host(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.report(state="ready") == {"changed": False}
    monkeypatch.setitem(evaluation_report.packages.NEEDED, "no_such_module", "nothing")
    refused = host.report(state="ready")
    assert refused["finding"]["code"] == "CONTROLLER_PACKAGE_MISSING"
    assert host.asked == 0


HOSTILE = {
    "no offer": {"offer": {"files": [{"name": "../x", "size": 1, "sha256": "a" * 64}]}},
    "another type": {"offer": []},
    "a number": {"pieces": 5, "offer": None},
    "orders": {"offer": {"files": "x"}, "ansible_facts": {"a": 1}},
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_an_answer_of_another_form_is_refused(evaluated: Host, changes: dict[str, Any]) -> None:
    evaluated.changes = changes
    result = evaluated.report()
    assert "HOST_ANSWER_MALFORMED" in result["msg"]
    assert "ansible_facts" not in result
    assert not (evaluated.home / "index.html").exists()


def test_a_picture_that_is_none_is_named_and_the_report_is_made(evaluated: Host, shown: list[str]) -> None:
    (evaluated.results / "evaluation/rows/pictures/00000-q1.png").write_bytes(b"<svg>")
    assert evaluated.report()["changed"] is True
    assert any("it is no picture: rows/pictures/00000-q1.png" in line for line in evaluated.lines)
    assert "picture left out" in (evaluated.home / "index.html").read_text()
