"""When a training moves, how long it may stand still, when a stop may end it, and why it hangs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import hang as supervisor_hang
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import stop as supervisor_stop
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import weights as supervisor_weights
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor.peer import PeerWatch
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor.stop import Stop
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor.tree import Process
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor.watch import Limits, Watch
from hypothesis import given
from hypothesis import strategies as st

LIMITS = Limits(load=100, first_step=50, save=200, floor=30)
KEYS = "_IncompatibleKeys(missing_keys=['latent_pos_embed.pos_embed', 'vit_pos_embed.pos_embed'], unexpected_keys=[])"

ADAPTERS = "[x] canvas-fleet lora: {} adapters, 161480704 parameters, rank 32, base {} tensors loaded"


def line(step: int, ce: float = 1.0, rate: float = 0.5) -> str:
    return f"[x] (step={step:07d}) Train Loss ce: {ce:.4f}, Train Loss mse: 0.5000, Train Steps/Sec: {rate:.2f}, "


def begun(now: float = 0.0, save_every: int = 100, start: int = 0) -> Watch:
    watch = Watch(LIMITS, save_every, now)
    assert watch.feed(f"Training for 1000 steps, starting at {start}...", now)
    return watch


def stepped(times: Sequence[float], save_every: int = 10**9) -> tuple[Watch, float]:
    """A watch after a first line and so many seconds between the next ones."""
    watch, now = begun(save_every=save_every), 0.0
    watch.feed(line(1), now)
    for number, seconds in enumerate(times, 2):
        now += seconds
        watch.feed(line(number), now)
    return watch, now


def test_each_stage_has_its_own_limit() -> None:
    watch = Watch(LIMITS, 20, 5.0)
    assert (watch.stage, watch.deadline, watch.ready) == ("load", 105.0, False)
    assert not watch.feed("some other line", 90.0), "only what moves is a sign of life"
    assert not watch.feed("Loading checkpoint from /srv/models.", 90.0)
    assert watch.deadline == 105.0
    watch.feed("Training for 40 steps, starting at 0...", 90.0)
    assert (watch.stage, watch.deadline) == ("first_step", 140.0)
    watch.feed(line(1), 100.0)
    assert (watch.stage, watch.ready, watch.deadline) == ("steps", True, 150.0), "the compiler may still work"
    for number in range(2, 6):
        watch.feed(line(number), 100.0 + number)
    assert watch.deadline == 105.0 + 30, "the floor"
    watch.feed(line(20), 120.0)
    assert (watch.stage, watch.saving, watch.deadline) == ("save", 20, 320.0)
    watch.feed("Saving checkpoint at step 20...", 121.0)
    assert watch.deadline == 321.0
    watch.save_ended(20, 150.0)
    assert (watch.stage, watch.saved, watch.deadline) == ("steps", 20, 180.0)
    watch.feed("Reached total_steps (40), stopping training.", 160.0)
    assert (watch.stage, watch.limit) == ("end", 200)


def test_a_run_at_its_end_is_ready_without_a_step() -> None:
    watch = begun(start=41)
    watch.feed("Reached total_steps (40), stopping training.", 1.0)
    assert watch.ready
    assert watch.status() == "at its end, step 40"


@given(st.lists(st.floats(0.01, 1000), min_size=3, max_size=200))
def test_the_limit_is_twice_the_99th_percentile_and_never_below_the_floor(times: list[float]) -> None:
    watch, _ = stepped(times)
    most = sorted(times)[-(-99 * len(times) // 100) - 1]
    assert watch.limit == pytest.approx(max(30, 2 * most), rel=1e-6)


@given(st.lists(st.floats(0.01, 60), min_size=3, max_size=50), st.floats(1, 150))
def test_a_save_counts_for_no_step_time(times: list[float], save: float) -> None:
    plain, _ = stepped(times)
    watch, now = begun(), 0.0
    watch.feed(line(100), now)
    watch.save_ended(100, now + save)
    now += save
    for number, seconds in enumerate(times, 101):
        now += seconds
        watch.feed(line(number), now)
    assert watch.limit == pytest.approx(plain.limit)


def test_a_save_whose_end_nobody_saw_counts_for_no_step_time_either() -> None:
    watch, now = stepped([1.0] * 5, save_every=6)
    assert watch.stage == "save"
    watch.feed(line(7), now + 190)
    assert (watch.stage, watch.saving, watch.limit) == ("steps", None, 30)


def test_an_hour_of_slow_and_uneven_steps_raises_no_alarm() -> None:
    """Steps of 20 s with a scatter of a third, slower by and by to 40 s, and a save of two minutes now and then."""
    dice = random.Random(7)  # noqa: S311 - repeatable, not secret
    watch, now, step = begun(), 0.0, 0
    alarms = 0
    while now < 3600:
        pause = max(1.0, dice.gauss(20 + now / 180, 7))
        alarms += now + pause > watch.deadline
        step, now = step + 10, now + pause
        watch.feed(line(step), now)
        if watch.saving is not None:
            alarms += now + 120 > watch.deadline
            now += 120
            watch.save_ended(step, now)
    assert alarms == 0
    assert watch.limit < 200, "and a real hang would still be found"


def test_a_save_lives_as_long_as_its_files_grow() -> None:
    watch, now = stepped([1.0] * 5, save_every=6)
    watch.save_grew(6, 100, now + 150)
    watch.save_grew(6, 100, now + 190)
    assert watch.deadline == now + 150 + 200
    watch.save_grew(7, 10**9, now + 195)
    assert watch.since == now + 150, "another step's files are none of it"


def test_a_hang_is_found_after_the_limit_and_not_before() -> None:
    watch, now = stepped([20.0] * 30)
    assert now + 39.9 < watch.deadline < now + 40.1


def test_a_line_that_comes_twice_is_no_step() -> None:
    watch, now = stepped([1.0] * 4)
    assert not watch.feed(line(5), now + 20)
    assert watch.since == now


def test_the_save_of_a_step_that_is_known_to_be_whole_does_not_begin_again() -> None:
    watch, now = stepped([1.0] * 5, save_every=6)
    watch.save_ended(6, now)
    watch.feed("Saving checkpoint at step 6...", now + 1)
    assert watch.saving is None


@pytest.mark.parametrize(
    ("feed", "status"),
    [
        ([], "loads, at most 1 min 40 s"),
        (["Training for 60 steps, starting at 0..."], "first steps for 60 steps, at most 50 s"),
        (
            ["Training for 60 steps, starting at 0...", line(35, 0.84, 4.1)],
            "step 35/60  ce 0.84  mse 0.50  4.1 steps/s  ETA 6 s",
        ),
        (
            ["Training for 60 steps, starting at 0...", line(50, 0.84, 0.25), "Saving checkpoint at step 50..."],
            "step 50/60  ce 0.84  mse 0.50  0.25 steps/s  saves step 50",
        ),
    ],
)
def test_the_status_is_a_line_for_a_person(feed: list[str], status: str) -> None:
    watch = Watch(LIMITS, 100, 0.0)
    for text in feed:
        watch.feed(text, 1.0)
    assert watch.status() == status


def a_watch(*, last: int | None = 45, saved: int | None = 40, saving: int | None = None, rate: float = 0.5) -> Watch:
    watch = begun(0.0, save_every=20)
    if last is not None:
        watch.feed(line(1), 1.0)
        watch.feed(line(last, rate=rate), 10.0)
    watch.saving = None
    watch.stage = "steps"
    if saved is not None:
        watch.save_ended(saved, 9.0)
    if saving is not None:
        watch.feed(f"Saving checkpoint at step {saving}...", 10.0)
    return watch


STOP = Stop(since=10.0, until=110.0)


@pytest.mark.parametrize(
    ("watch", "stop", "now", "end", "words"),
    [
        (a_watch(), STOP, 11.0, False, "stops after the next save, in about 30 s"),
        (a_watch(), Stop(10.0, 110.0, at_once=True), 11.0, True, "at once"),
        (a_watch(last=None, saved=None), STOP, 11.0, True, "no step is lost"),
        (a_watch(last=40), STOP, 10.0, True, "no step is lost"),
        (a_watch(last=40), STOP, 12.0, False, "stops after the next save"),
        (a_watch(saving=60), STOP, 11.0, False, "stops after the save of step 60"),
        (a_watch(rate=0.1), STOP, 11.0, True, "the next one is 2 min 30 s away, the limit is 1 min 40 s"),
        (a_watch(), STOP, 110.0, True, "none came within 1 min 40 s"),
        (a_watch(), STOP, 80.0, True, "makes no progress"),
    ],
    ids=["a save is near", "at once", "no step yet", "just saved", "saved, and some steps since", "a save goes on",
         "the save is too far", "time is up", "it hangs meanwhile"],
)  # fmt: skip
def test_a_stop_waits_for_a_save_that_can_come(watch: Watch, stop: Stop, now: float, end: bool, words: str) -> None:
    word = supervisor_stop.judge(stop, watch, now)
    assert (word.end, words in word.text) == (end, True), word.text


def test_a_stop_ends_with_the_save_that_it_waited_for() -> None:
    watch = a_watch(saving=60)
    watch.save_ended(60, 15.0)
    assert supervisor_stop.judge(STOP, watch, 15.1).text == "stopped after the save of step 60"


def process(pid: int, state: str = "S", name: str = "python3") -> Process:
    return Process(pid, 1, name, state, 1.0)


def test_a_stopped_process_is_named_by_its_rank_where_it_has_one() -> None:
    tree = [process(7, "T", "python"), process(8, "T", "pt_data_worker"), process(9, "T", "torchrun")]
    found = supervisor_hang.diagnose("steps", 30.0, tree, 0, [], ranks={7: 1, 8: 1, 9: None})
    assert "python (rank 1, process 7), pt_data_worker (rank 1, process 8), torchrun (process 9)" in found.line
    assert found.rank is None, "not of one rank alone"
    assert supervisor_hang.diagnose("steps", 30.0, tree[:2], 0, [], ranks={7: 1, 8: 1}).rank == 1


@pytest.mark.parametrize(
    ("tree", "repeats", "peers", "kind", "words"),
    [
        ([process(7), process(8, "T")], 10**6, [], "HANG_WORKER_STOPPED", "python3 (process 8) is stopped"),
        ([process(7)], 3_512_884, [], "HANG_STARVED", "began its data 3,512,884 times"),
        ([process(7)], 3, ["bolt1"], "HANG_PEER_LOST", "bolt1 does not answer"),
        ([process(7, "D")], 0, [], "HANG_NO_STEP", "1 of its 1 processes wait for a disk or a driver"),
        ([process(7)], 0, [], "HANG_NO_STEP", "no step was made within 30 s"),
        ([], 0, [], "HANG_NO_STEP", "no process of the trainer is left"),
    ],
)
def test_a_hang_has_a_class(tree: list[Process], repeats: int, peers: list[str], kind: str, words: str) -> None:
    found = supervisor_hang.diagnose("steps", 30.0, tree, repeats, ["last"], peers)
    assert (found.kind, words in found.line, found.lines) == (kind, True, ("last",)), found.line


@pytest.mark.parametrize(
    ("lines", "spec", "kind"),
    [
        (["Training from scratch."], {}, "WEIGHTS_NOT_LOADED"),
        (["Training from scratch."], {"weights_expected": False}, None),
        (["Loading checkpoint from /m.", KEYS, KEYS], {}, None),
        (["Loading checkpoint from /m.", KEYS.replace("[]", "['x.weight']")], {}, "WEIGHTS_NOT_LOADED"),
        (["Loading checkpoint from /m.", KEYS.replace("'vit_pos", "'lm_head', 'vit_pos")], {}, "WEIGHTS_NOT_LOADED"),
        ([line(0, 11.9)], {"max_first_loss": 10}, "FIRST_LOSS_HIGH"),
        ([line(0, 11.9)], {"max_first_loss": 0}, None),
        ([line(0, 2.0)], {"max_first_loss": 10}, None),
        ([line(0, 2.0), line(1, 11.9)], {"max_first_loss": 10}, None),
        ([ADAPTERS.format(392, 1130)], {"profile": "lora"}, None),
        ([], {"profile": "lora"}, "WEIGHTS_NOT_LOADED"),
        ([], {"profile": "full"}, None),
        ([ADAPTERS.format(0, 1130)], {"profile": "lora"}, "WEIGHTS_NOT_LOADED"),
        ([line(0, float("nan"))], {"max_first_loss": 10}, "FIRST_LOSS_HIGH"),
    ],
)  # fmt: skip
def test_a_training_of_something_else_is_noticed(lines: list[str], spec: dict[str, Any], kind: str | None) -> None:
    watch, said = begun(), []
    for text in lines:
        watch.feed(text, 1.0)
    found = supervisor_weights.flaw(watch, spec, said.append)
    assert (found.kind if found else None) == kind


def test_a_first_loss_between_the_two_bounds_is_only_told() -> None:
    watch, said = begun(), []
    watch.feed(line(0, 7.5), 1.0)
    assert supervisor_weights.flaw(watch, {"warn_first_loss": 6, "max_first_loss": 10}, said.append) is None
    assert said == ["warning: the first CE is 7.50 at step 0, above 6 (training_warn_first_loss)"]


# a node without step lines


def alive(doing: str = "steps", step: int | None = 5, same: bool = True) -> dict[str, Any]:
    return {"same": same, "doing": doing, "step": step, "age": 1.0}


def busy(cpu: float, state: str = "R") -> list[Process]:
    return [Process(9, 1, "python3", state, cpu)]


def test_a_second_node_lives_as_long_as_the_first_one_answers() -> None:
    watch = PeerWatch(LIMITS, "bolt0", asks=True, now=0.0)
    watch.observe(alive("load", None), 10.0)
    assert (watch.ready, watch.stage, watch.deadline) == (False, "load", 40.0)
    watch.observe(alive("steps", 5), 20.0)
    assert watch.ready
    watch.observe(None, 25.0)
    watch.look(busy(4.0), 45.0)
    assert watch.deadline == 50.0, "computing ranks are no proof where the first node can be asked"
    assert "bolt0 has not answered for 25 s" in watch.status()


def test_a_second_node_of_another_attempt_is_lost() -> None:
    watch = PeerWatch(LIMITS, "bolt0", asks=True, now=0.0)
    watch.observe(alive(same=False), 1.0)
    assert watch.lost is not None
    assert watch.lost.kind == "PEER_LOST"


def test_a_second_node_stops_after_the_save_of_the_first() -> None:
    watch = PeerWatch(LIMITS, "bolt0", asks=True, now=0.0)
    watch.observe(alive("steps", 35), 5.0)
    assert not supervisor_stop.judge_peer(STOP, watch, "bolt0", 12.0).end
    watch.observe(alive("save", 40), 20.0)
    assert not supervisor_stop.judge_peer(STOP, watch, "bolt0", 21.0).end
    watch.observe(alive("steps", 40), 30.0)
    assert supervisor_stop.judge_peer(STOP, watch, "bolt0", 31.0).text == "stopped after the save of step 40 on bolt0"
    silent = PeerWatch(LIMITS, "bolt0", asks=True, now=0.0)
    silent.observe(alive("steps", 35), 5.0)
    assert supervisor_stop.judge_peer(STOP, silent, "bolt0", 40.0).text == "stopped: bolt0 does not answer"


def test_a_second_node_that_cannot_ask_is_judged_by_its_work() -> None:
    watch = PeerWatch(LIMITS, "bolt0", asks=False, now=0.0)
    watch.look(busy(5.0), 10.0)
    assert (watch.ready, watch.since) == (True, 10.0)
    watch.look(busy(5.1), 20.0)
    assert watch.since == 10.0, "a heartbeat is no work"
    watch.look(busy(9.0, "T"), 30.0)
    assert watch.deadline == 60.0, "a rank that is held has the floor alone"
