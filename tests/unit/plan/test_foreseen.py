"""The plan foresees that a converge writes other files under a running training, and the stop for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import payload, unit_text
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want
from ansible_collections.canvas.fleet.plugins.plugin_utils.render import Templates

from tests.fuzz import fleet
from tests.fuzz.fleet import Host, Seen
from tests.fuzz.judge import Ground


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return Ground(Path(tmp_path_factory.mktemp("foreseen"))).base


def running(variables: dict[str, Any]) -> Callable[[Seen], None]:
    """A training that runs, started from what these variables make, all of which still lies on the disk."""
    made = fleet.plan([Host("a", variables)]).hosts["a"]
    want = Want(fleet.host_seen(Host("a", variables)).settings, made.topology)
    unit = unit_text.texts(want, Templates())
    digests = dict(made.roles["run_config"].digests)
    state: dict[str, Any] = {"active": "active", "sub": "running", "load": "loaded", "enabled": True, "folders": True}
    state.update(text=unit.unit, gpu=unit.gpu, evaluation=unit.evaluation, spec=want.spec())
    state.update(evaluation_spec=want.evaluation_spec(), payloads=[payload.payload()[0]], record=True)
    state.update(started={**digests, "invocation": "a1"}, digests=digests)
    return lambda seen: seen["roles"]["training"]["unit"].update(state)


@pytest.mark.parametrize(
    ("change", "older"),
    [({}, False), ({"run_config_lr": 3e-5}, True), ({"run_config_log_every": 7}, True)],
    ids=["the same settings", "another learning rate", "other lines in the log"],
)
def test_a_training_is_older_than_the_script_that_is_coming(base: dict[str, Any], change: Any, older: bool) -> None:
    made = fleet.plan([Host("a", {**base, **change}, running(base))]).hosts["a"].roles["training"]
    assert [found.code for found in made.findings] == (["TRAINING_RUNS_OLDER"] if older else [])
    assert all("train_blockmoving.sh" in found.found for found in made.findings)


@pytest.mark.parametrize(("change", "stops"), [({}, False), ({"run_config_lr": 3e-5}, True)])
def test_the_stop_for_a_script_that_is_coming_is_planned(base: dict[str, Any], change: Any, stops: bool) -> None:
    variables = {**base, "training_apply": "restart_after_save"}
    made = fleet.plan([Host("a", {**variables, **change}, running(variables))]).hosts["a"].roles["training"]
    assert ("a restart after the save was asked for" in made.reasons) is stops
    assert made.in_sync is not stops
