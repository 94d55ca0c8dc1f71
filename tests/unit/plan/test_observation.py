"""What a host answers is read once: it fits its declaration, or this host alone is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.machine.facts import Facts
from ansible_collections.canvas.fleet.plugins.module_utils.plan.observation import TEXT_SHARE, understood
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import observe as dataset
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.inspection import Inspection, Longest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.record import Known

from tests.fuzz import fleet
from tests.fuzz.judge import Ground
from tests.unit.support.observed import bare


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    ground = Ground(Path(tmp_path_factory.mktemp("answers")))
    return fleet.observe(fleet.settings(fleet.Host("a", ground.base))[0])


def test_an_answer_is_understood(answer: dict[str, Any]) -> None:
    seen, findings = understood(answer)
    assert findings == ()
    assert seen is not None
    assert seen.facts.init.name == "systemd"


@pytest.mark.parametrize(
    ("longest", "sample"),
    [(Longest(1, 8000, 6000), (8000, 0.25)), (Longest(1, 8000), (8000, 1.0)), (Longest(), (0, TEXT_SHARE))],
    ids=["three of four tokens are of images", "words alone", "not known yet"],
)
def test_the_longest_sample_and_its_share_of_words(longest: Longest, sample: tuple[int, float]) -> None:
    known = Known(inspection=Inspection(longest=longest))
    seen = bare(Facts("3.11", 1), dataset=dataset.Observation(known=known))
    assert (seen.machine.sample_tokens, seen.machine.text_share) == sample


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (("roles", "nvidia", "gpus", 0, "memory_bytes"), "x", "roles.nvidia.gpus[0].memory_bytes: 'x'"),
        (("roles", "weights", "bytes"), float("inf"), "roles.weights.bytes: inf"),
        (("facts", "init"), [], "facts.init: a list of 0"),
        (("environment",), None, "environment: nothing"),
        (("roles",), "x", "roles: 'x'"),
        ((), "x", "the answer: 'x'"),
    ],
)
def test_an_answer_of_another_form_is_the_finding_of_its_host(
    answer: dict[str, Any], path: tuple[Any, ...], value: Any, found: str
) -> None:
    spoilt: Any = {"": copy.deepcopy(answer)}
    holder, last = spoilt, ""
    for key in path:
        holder, last = holder[last], key
    holder[last] = value
    seen, findings = understood(spoilt[""])
    assert seen is None
    assert [(one.code, one.found) for one in findings] == [("HOST_ANSWER_MALFORMED", found)]


def test_a_part_may_lack_where_the_answer_says_why(answer: dict[str, Any]) -> None:
    cut = copy.deepcopy(answer)
    del cut["roles"]["weights"], cut["facts"]
    cut["silent"] = {"weights": "no answer within 30 s", "facts": "no answer within 30 s"}
    seen, findings = understood(cut)
    assert findings == ()
    assert seen is not None
    assert [one.code for one in seen.findings] == ["HOST_PART_SILENT"] * 2


@pytest.mark.parametrize("silent", [{}, {"weights": 7}, ["weights"], {"facts": "why"}])
def test_a_part_that_lacks_without_a_word_is_malformed(answer: dict[str, Any], silent: Any) -> None:
    cut = {**answer, "roles": {role: one for role, one in answer["roles"].items() if role != "dataset"}}
    seen, findings = understood({**cut, "silent": silent})
    assert seen is None
    assert [one.code for one in findings] == ["HOST_ANSWER_MALFORMED"]
