"""What a run writes on its hosts' disks, counted save by save, and how long that takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.machine.facts import FileSystem
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.disks import (
    Disk,
    Saves,
    disks,
    fewer_saves,
    run_parts,
    save_parts,
    seconds,
    times,
)
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.memory import Run
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import BAGEL
from hypothesis import given
from hypothesis import strategies as st

GB = 1e9
RUN = Run(BAGEL, 8)
WEIGHTS, MOMENTS = 29.2, 116.6  # GB of one bf16 copy of BAGEL, and of the moments of what is trained


def gigabytes(parts: dict[str, float]) -> dict[str, float]:
    return {name: round(size / GB, 1) for name, size in parts.items()}


@given(
    number=st.integers(1, 12),
    every=st.sampled_from([10, 15]),
    last=st.integers(1, 5),
    multiple=st.sampled_from([0, 10, 30, 45]),
)
def test_the_guard_keeps_the_newest_and_the_multiples(number: int, every: int, last: int, multiple: int) -> None:
    saves = Saves(number * every, every, True, keep_last=last, keep_every=multiple)
    before = [step * every for step in range(1, number)]  # while the last one is written
    newest = before[-max(last, 2) :]
    older = [step for step in before if step not in newest and multiple and step % multiple == 0]
    assert saves.kept == len(newest) + len(older)
    assert saves.folders == saves.states == saves.kept + 1


@pytest.mark.parametrize(
    ("saves", "folders", "states"),
    [
        pytest.param(Saves(40, 10, False), 4, 4, id="all saves stay"),
        pytest.param(Saves(40, 10, True), 4, 2, id="the trainer deletes older moments once a save is whole"),
        pytest.param(Saves(10, 10, True), 1, 1, id="the only save"),
        pytest.param(Saves(9, 10, True), 0, 0, id="no save"),
        pytest.param(Saves(40, 0, True), 0, 0, id="saves are off"),
        pytest.param(Saves(40, 10, True, keep_last=0), 4, 3, id="a guard that removes no folder keeps two resumable"),
    ],
)
def test_what_lies_there_at_the_fullest_moment(saves: Saves, folders: int, states: int) -> None:
    assert (saves.folders, saves.states) == (folders, states)


@pytest.mark.parametrize(
    ("run", "node", "parts"),
    [
        pytest.param(
            RUN, 0, {"model.safetensors": WEIGHTS, "ema.safetensors": WEIGHTS, "optimizer": MOMENTS}, id="one host"
        ),
        pytest.param(
            replace(RUN, ema_copy=False), 0, {"model.safetensors": WEIGHTS, "optimizer": MOMENTS}, id="no EMA"
        ),
        pytest.param(replace(RUN, nodes=2), 1, {}, id="a further host that holds no shard"),
        pytest.param(replace(RUN, nodes=2, shards=16), 1, {"optimizer": MOMENTS / 2}, id="half of the shards"),
        pytest.param(replace(RUN, nodes=2, shards=12), 1, {"optimizer": MOMENTS / 3}, id="a third of the shards"),
    ],
)
def test_what_one_save_writes_on_a_host(run: Run, node: int, parts: dict[str, float]) -> None:
    assert gigabytes(save_parts(run, node)) == pytest.approx(parts, abs=0.11)


@pytest.mark.parametrize(
    ("saves", "ema", "copies"),
    [
        pytest.param(Saves(40, 10, True, node=1), True, None, id="a host that resumes from its own"),
        pytest.param(Saves(40, 10, True, 1, fetches=True), True, 2 * (2 * WEIGHTS + MOMENTS), id="two whole copies"),
        pytest.param(Saves(40, 10, True, 1, fetches=True), False, 2 * (WEIGHTS + MOMENTS), id="copies without EMA"),
        pytest.param(Saves(10, 10, True, 1, fetches=True), True, 2 * WEIGHTS + MOMENTS, id="there is one save only"),
    ],
)
def test_what_a_further_host_copies_from_the_first(saves: Saves, ema: bool, copies: float | None) -> None:
    run = replace(RUN, nodes=2, ema_copy=ema)
    found = run_parts(run, saves).get("copies of the first host's")
    assert found == (None if copies is None else pytest.approx(copies * GB, rel=0.001))


def test_the_most_saves_that_fit_and_end_with_the_last_step() -> None:
    saves, one = Saves(60, 10, False), sum(save_parts(RUN).values())
    found = fewer_saves(RUN, saves, 5 * one)
    assert found is not None
    assert found.save_every == 12, "five saves; the last at step 60"
    assert fewer_saves(RUN, saves, 4.9 * one) == replace(saves, save_every=15)
    assert fewer_saves(RUN, Saves(49, 7, False), 6.9 * one) == Saves(49, 49, False), "49 has no other divisors"
    assert fewer_saves(RUN, saves, 0.9 * one) is None


def test_folders_on_one_file_system_share_its_space() -> None:
    seen = {
        "weights_dir": FileSystem(at="/srv", device=1, free=100, total=200),
        "training_checkpoint_dir": FileSystem(at="/srv", device=1, free=100, total=200),
        "conda_env_root": FileSystem(at="/", device=2, free=30, total=50),
    }
    wants = {
        "weights_dir": ("weights", 60.0),
        "conda_env_root": ("environment", 30.0),
        "training_checkpoint_dir": ("checkpoints", 41.0),
        "dataset_output_dir": ("data", 5.0),  # not observed
    }
    srv, root = disks(seen, wants)
    assert srv == Disk(
        "/srv", 100.0, {"weights": 60.0, "checkpoints": 41.0}, ("weights_dir", "training_checkpoint_dir")
    )
    assert (srv.need, srv.short, root.short) == (101.0, True, False)
    assert [disk.at for disk in disks(seen, {**wants, "conda_env_root": ("environment", 0.0)})] == ["/srv"]


def test_a_download_and_a_save_take_their_time() -> None:
    given_rates = times(220e6, RUN, 0, {"download": 22e6, "disk": 2e9})
    written, gathered = sum(save_parts(RUN).values()), RUN.weights + RUN.ema
    assert given_rates == {"download": 10.0, "save": pytest.approx(written / 2e9)}
    as_upstream = times(0, replace(RUN, lean=False), 0, {"disk": 2e9})
    assert as_upstream["save"] == pytest.approx(gathered / 0.5e9 + written / 2e9)
    assert times(220e6, Run(BAGEL, 1), 0, {})["download"] == 2.0, "a line of 1 Gbit/s where no rate is known"
    alone = times(0, Run(BAGEL, 1), 0, {"disk": 2e9})
    assert alone["save"] == pytest.approx(sum(save_parts(Run(BAGEL, 1)).values()) / 2e9), "one rank gathers nothing"
    assert alone["download"] == seconds(5, 0) == 0
