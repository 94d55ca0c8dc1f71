"""What teardown may take, when a role has nothing to do, and where root's secret lies."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import state
from ansible_collections.canvas.fleet.plugins.module_utils.core.leftover import Leftover
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import RolePlan


@pytest.mark.parametrize(
    ("why", "word", "include", "goes"),
    [
        pytest.param("", "", (), True, id="what nobody could miss goes"),
        pytest.param("results", "checkpoints", (), False, id="what a person could miss stays"),
        pytest.param("results", "checkpoints", ("data",), False, id="also when something else was named"),
        pytest.param("results", "checkpoints", ("data", "checkpoints"), True, id="and goes when it was named"),
        pytest.param("a person's own", "", ("data", "checkpoints"), False, id="what has no word always stays"),
    ],
)
def test_what_goes(why: str, word: str, include: tuple[str, ...], goes: bool) -> None:
    assert Leftover("training", "/srv/outputs", why, word).goes(frozenset(include)) == goes


def test_a_role_without_reasons_is_in_sync() -> None:
    assert RolePlan(summary="9 files").in_sync
    assert not RolePlan(("not there",)).in_sync


def test_the_key_of_wandb_lies_in_roots_folder_of_secrets() -> None:
    assert state.wandb_key({"fleet_state_dir": "/var/lib/x"}) == "/var/lib/x/secrets/wandb_api_key"
