"""The evaluation of a host becomes a report on the controller: a table, data and a page, whatever the host says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.canvas.fleet.plugins.action import evaluation_report
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import offer as offers
from ansible_collections.canvas.fleet.plugins.plugin_utils import page as terminal
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report import page as pages

from tests.unit.support import actions, evaluations
from tests.unit.support.places import ROOT


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


def of_home(host: Host) -> dict[str, bytes]:
    """The page, the numbers and the files below them."""
    found = [path for path in host.home.rglob("*") if path.is_file() and not path.name.startswith(("collected", "."))]
    return {str(path.relative_to(host.home)): path.read_bytes() for path in found}


def test_a_fetch_leaves_the_same_page_as_an_evaluation(evaluated: Host, shown: list[str]) -> None:
    evaluated.report()
    made = of_home(evaluated)
    shutil.rmtree(evaluated.home)
    result = evaluated.report(state="fetched")
    assert (result["changed"], result["findings"]) == (True, [])
    assert of_home(evaluated) == made


def test_the_playbook_fetches_the_model_before_the_evaluation() -> None:
    play = yaml.safe_load((ROOT / "playbooks/fetch.yml").read_text())[-1]
    roles = [task["ansible.builtin.include_role"] for task in play["tasks"][1:]]
    assert [(one["name"], one["tasks_from"]) for one in roles] == [
        ("canvas.fleet.training", "fetch"),
        ("canvas.fleet.evaluation", "fetch"),
    ]
    (task,) = yaml.safe_load((ROOT / "roles/evaluation/tasks/fetch.yml").read_text())
    assert task["canvas.fleet.evaluation_report"] == {"state": "fetched"}


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)


def begun(folder: Path) -> None:
    for name in ("base", "0000040"):
        shutil.rmtree(folder / name)


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


@pytest.mark.parametrize("leave", [nothing, begun, a_file])
def test_where_nothing_was_evaluated_a_fetch_brings_none(
    evaluated: Host, shown: list[str], leave: Callable[[Path], None]
) -> None:
    leave(evaluated.results / "evaluation")
    assert evaluated.report(state="fetched")["skipped"] is True
    assert (evaluated.home.exists(), shown, evaluated.lines) == (False, [], [])


def test_a_second_fetch_changes_nothing_and_a_dry_run_compares(
    evaluated: Host, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "page", lambda _folder, _data, made: f"of {made.run}")  # a real one takes seconds
    assert evaluated.report(check=True, state="fetched")["changed"] is True
    assert not evaluated.home.exists()
    evaluated.report(state="fetched")
    again = evaluated.report(state="fetched")
    assert (again["changed"], again["brought"], again["subjects"]) == (False, [], ["base", "0000040"])
    assert evaluated.report(check=True, state="fetched")["changed"] is False
    assert len(shown) == 2, "a dry run shows no table"
    (evaluated.home / "index.html").write_text("older")
    assert evaluated.report(check=True, state="fetched")["changed"] is True
    assert (evaluated.home / "index.html").read_text() == "older"


def no_about(folder: Path) -> None:
    for path in folder.glob("*/*/about.json"):
        path.write_bytes(b"\0" * 100)


def a_folder_for_a_file(folder: Path) -> None:
    for path in folder.glob("*/*/about.json"):
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("damage", [no_about, a_folder_for_a_file])
def test_of_an_evaluation_that_cannot_be_read_a_fetch_makes_one_finding(
    evaluated: Host, shown: list[str], damage: Callable[[Path], None]
) -> None:
    damage(evaluated.results / "evaluation")
    result = evaluated.report(state="fetched")
    assert not result.get("failed")
    (found,) = result["findings"]
    assert (found["code"], found["severity"]) == ("EVALUATION_NOT_SHOWN", "warning")
    assert "base/loss/about.json" in found["found"]
    assert "EVALUATION_NOT_SHOWN" in shown[0]
    assert not (evaluated.home / "index.html").exists()
    assert evaluated.report(state="fetched")["changed"] is False
    refused = evaluated.report()
    assert refused["finding"]["code"] == "EVALUATION_NOT_SHOWN", "who asks for the report alone is refused"


def test_of_a_damaged_part_the_page_shows_the_others(evaluated: Host, shown: list[str]) -> None:
    (evaluated.results / "evaluation/base/loss/about.json").write_bytes(b"{")
    result = evaluated.report(state="fetched")
    (found,) = result["findings"]
    assert found["found"] == "cannot be read: base/loss/about.json"
    assert (result["subjects"], result["changed"]) == (["base", "0000040"], True)
    assert (evaluated.home / "index.html").exists()


def test_rows_that_change_while_they_come_are_a_finding(evaluated: Host, shown: list[str]) -> None:
    evaluated.changes = {"pieces": ["eA=="]}
    result = evaluated.report(state="fetched")
    (found,) = result["findings"]
    assert "the host gives other pieces" in found["found"]
    assert (result["changed"], result.get("failed")) == (True, None)


def test_a_host_that_cannot_read_its_evaluation_is_a_finding(evaluated: Host, shown: list[str]) -> None:
    evaluated.answer = lambda asked: {"failed": True, "msg": "PermissionError: evaluation"}  # type: ignore[method-assign]
    (found,) = evaluated.report(state="fetched")["findings"]
    assert found["found"] == "PermissionError: evaluation"
    assert evaluated.report()["failed"] is True


def test_a_folder_at_home_that_is_none_is_a_finding(evaluated: Host, shown: list[str]) -> None:
    evaluated.home.write_text("a file")
    (found,) = evaluated.report(state="fetched")["findings"]
    assert str(evaluated.home) in found["found"]


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_an_answer_that_is_none_fails_a_fetch_too(evaluated: Host, changes: dict[str, Any]) -> None:
    evaluated.changes = changes
    assert evaluated.report(state="fetched")["finding"]["code"] == "HOST_ANSWER_MALFORMED"


def test_a_controller_without_packages_fetches_all_the_same(
    evaluated: Host, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(evaluation_report.packages.NEEDED, "no_such_module", "nothing")
    (found,) = evaluated.report(state="fetched")["findings"]
    assert "no nothing in the Python of ansible-playbook" in found["found"]
    assert "pip install" in found["remedy"]
    shutil.rmtree(evaluated.results / "evaluation")
    assert evaluated.report(state="fetched")["skipped"] is True
