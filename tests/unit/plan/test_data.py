"""The plan as JSON has the form that docs/plan.schema.json declares, whatever the fleet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.plan.data import plan_data

from tests.fuzz import fleet, valid
from tests.fuzz.judge import Ground, chance, wrong
from tests.unit.support.places import ROOT

SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/plan.schema.json").read_text())
CHECK = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(Path(tmp_path_factory.mktemp("plans")))


def read_again(hosts: Any) -> dict[str, Any]:
    """As another program reads it: strict JSON, without nan."""
    data: dict[str, Any] = json.loads(json.dumps(plan_data(fleet.plan(hosts)), allow_nan=False))
    return data


def test_the_schema_is_one() -> None:
    CHECK.check_schema(SCHEMA)


def test_wrong_fleets_have_the_declared_form(ground: Ground) -> None:
    states, fits = set(), 0
    for case in wrong(ground, 30, seed=14):
        data = read_again(case.hosts)
        assert list(CHECK.iter_errors(data)) == [], case.name
        states |= {host["state"] for host in data["hosts"].values()}
        fits += sum(bool(host["fit"]) for host in data["hosts"].values())
    assert {"judged", "not asked"} <= states
    assert fits > 3


def test_a_right_fleet_has_the_declared_form_and_no_texts_of_files(ground: Ground) -> None:
    data = read_again(valid.fleet(chance(14), ground.base))
    assert list(CHECK.iter_errors(data)) == []
    assert all(
        set(role) == {"in_sync", "reasons", "summary"}
        for host in data["hosts"].values()
        for role in host["roles"].values()
    )
    assert "torchrun" not in json.dumps(data)


@pytest.mark.parametrize("place", ["runs", "hosts", "version"])
def test_what_lacks_is_no_plan(ground: Ground, place: str) -> None:
    data = read_again([fleet.Host("a", ground.base)])
    del data[place]
    assert list(CHECK.iter_errors(data))
