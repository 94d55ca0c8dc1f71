"""A model folder for use is offered with the digests of its own SHA256SUMS, and nothing else is let in."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import offer as offers
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.offer import Offer
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.system import digests

from tests.unit.support.exported import NAMES, Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def offered(run: Run, step: int = -1, kind: str = "auto") -> Offer:
    return offers.offer(run.place, str(run.out), "export", step, NAMES, kind=kind)


def test_it_is_offered_whole_by_its_own_sums_and_nothing_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.make()
    monkeypatch.setattr(digests, "of_file", None)
    given = offered(run)
    folder = run.made("0000040-ema")
    assert (given.step, given.export, given.merged) == (40, "0000040-ema", False)
    assert {one.name: one.sha256 for one in given.files} == {
        path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.name != "SHA256SUMS"
    }
    assert given.files[-1].name == "EXPORTED.json", "a folder that has it is whole"
    assert offers.checked(given, "export", -1, 10**6, NAMES) == given
    assert offers.checked(given, "export", 40, 10**6, NAMES) == given


@pytest.mark.parametrize(
    ("step", "kind", "name"),
    [(-1, "auto", "0000040-ema"), (-1, "model", "0000040-model"), (20, "auto", "0000020-ema"), (20, "model", "")],
)
def test_step_and_weights_choose_among_several(run: Run, step: int, kind: str, name: str) -> None:
    for made, weights in ((40, "ema"), (40, "model"), (20, "ema")):
        run.make(step=made, kind=weights)
    if name:
        assert offered(run, step, kind).export == name
        return
    with pytest.raises(FleetError, match="no such export") as caught:
        offered(run, step, kind)
    assert "0000020-ema, 0000040-ema, 0000040-model" in caught.value.found
    assert "playbooks/export.yml" in caught.value.remedy


@pytest.mark.parametrize("what", ["vocab.json", "SHA256SUMS"])
def test_one_that_is_not_whole_is_not_offered(run: Run, what: str) -> None:
    run.make()
    (run.made("0000040-ema") / what).unlink()
    with pytest.raises(FleetError, match="not whole"):
        offered(run)


@pytest.mark.parametrize(
    "change",
    [
        {"export": "../../etc"}, {"export": "0000020-ema"}, {"export": ""}, {"export": "0000040-ema/.."},
        {"step": 20}, {"files": ()}, {"merged": True, "export": ""},
    ],
    ids=str,
)  # fmt: skip
def test_the_controller_lets_in_what_it_asked_for_alone(run: Run, change: dict[str, Any]) -> None:
    run.make()
    with pytest.raises(FleetError, match="HOST_ANSWER_MALFORMED"):
        offers.checked(replace(offered(run), **change), "export", -1, 10**6, NAMES)


def test_an_export_is_no_answer_to_another_question(run: Run) -> None:
    run.make()
    for what in ("ema", "model", "merged", "checkpoint", "logs"):
        with pytest.raises(FleetError, match="HOST_ANSWER_MALFORMED"):
            offers.checked(offered(run), what, -1, 10**6, NAMES)
