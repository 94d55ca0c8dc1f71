"""What the trainer's lines say, and what is read of a big file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import log as train_log
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.places import FIXTURES

LOGS = FIXTURES / "trainer" / "cc48f16"
MODEL = "/srv/blockmoving/models/BAGEL-7B-MoT"


def log(name: str) -> train_log.TrainLog:
    return train_log.parse((LOGS / f"{name}.log").read_text())


def test_a_finished_run_is_read_from_its_first_to_its_last_line() -> None:
    seen = log("finished")
    assert (seen.total, seen.start_step, seen.reached, seen.finished) == (60, 0, 60, True)
    assert [step.step for step in seen.steps] == [0, 10, 20, 30, 40, 50, 60]
    assert seen.saves == (30, 60)
    assert (seen.weights, seen.weights_from) == ("loaded", MODEL)
    assert seen.losses() == {"ce": train_log.Loss(0.7312, 0.3921), "mse": train_log.Loss(0.5104, 0.2884)}
    assert seen.seconds_left() == 0.0


def test_only_the_last_start_counts() -> None:
    seen = log("resumed")
    assert [step.step for step in seen.steps] == [40, 50]
    assert seen.saves == ()
    assert seen.start_step == 31
    assert seen.weights_from.endswith("checkpoints/0000030")
    assert not seen.finished


def test_a_run_started_again_at_its_end_is_finished_and_at_its_last_step() -> None:
    seen = log("at_its_end")
    assert seen.finished
    assert seen.steps == ()
    assert seen.summary().step == 60


@pytest.mark.parametrize(
    ("name", "weights", "flaw"),
    [
        ("finished", "loaded", ""),
        ("scratch", "scratch", "the trainer began with random weights"),
        (
            "partial",
            "partial",
            "1 tensors not in the file (language_model.model.layers.0.self_attn.q_proj_moe_gen.weight); "
            "1 tensors that the model does not know (vit_model.head.weight)",
        ),
    ],
)
def test_weights_are_loaded_when_only_the_position_tables_are_missing(name: str, weights: str, flaw: str) -> None:
    seen = log(name)
    assert (seen.weights, seen.weights_flaw) == (weights, flaw)


@pytest.mark.parametrize(("number", "more"), [(3, ""), (4, " …")])
def test_of_many_tensors_that_do_not_fit_three_are_named(number: int, more: str) -> None:
    names = ["a.weight", "b.weight", "c.weight", "d.weight"][:number]
    line = f"_IncompatibleKeys(missing_keys={names}, unexpected_keys={names})"
    three = f"(a.weight, b.weight, c.weight{more})"
    assert train_log.parse(f"Loading checkpoint from {MODEL}.\n{line}").weights_flaw == (
        f"{number} tensors not in the file {three}; {number} tensors that the model does not know {three}"
    )


def test_one_reading_that_lacks_a_tensor_is_not_mended_by_the_next() -> None:
    good = "_IncompatibleKeys(missing_keys=['latent_pos_embed.pos_embed'], unexpected_keys=[])"
    bad = "_IncompatibleKeys(missing_keys=['lm_head.weight'], unexpected_keys=[])"
    for order in ([bad, good], [good, bad]):
        assert train_log.parse("\n".join([f"Loading checkpoint from {MODEL}.", *order])).weights == "partial"


def test_adapters_of_a_checkpoint_do_not_mend_a_base_that_lacks_tensors() -> None:
    bad = "_IncompatibleKeys(missing_keys=['lm_head.weight'], unexpected_keys=[])"
    more = ["Loading checkpoint from /c/0000510.", "<All keys matched successfully>"]
    seen = train_log.parse("\n".join([f"Loading checkpoint from {MODEL}.", bad, *more]))
    assert (seen.weights, seen.weights_from) == ("partial", MODEL)
    assert "lm_head.weight" in seen.weights_flaw


def test_weights_that_are_being_read_are_neither_loaded_nor_not() -> None:
    assert train_log.parse(f"Loading checkpoint from {MODEL}.\n").weights == "loading"
    assert train_log.parse("").weights == ""


def test_a_starved_run_is_ready_and_makes_no_step() -> None:
    seen = log("starved")
    assert (seen.total, seen.last, seen.rate(), seen.seconds_left()) == (1530, None, None, None)


def step(number: int, ce: float, mse: float, rate: float) -> str:
    return f"(step={number:07d}) Train Loss ce: {ce:.4f}, Train Loss mse: {mse:.4f}, Train Steps/Sec: {rate:.2f}, "


def test_time_left_comes_from_the_recent_lines_without_the_first() -> None:
    text = "Training for 100 steps, starting at 0...\n" + step(0, 1, 1, 0.02) + "\n"
    text += "\n".join(step(10 * number, 1, 1, 2.0) for number in range(1, 5))
    seen = train_log.parse(text)
    assert seen.rate() == 2.0
    assert seen.seconds_left() == 30.0


def test_the_mean_speed_is_that_of_the_times_not_of_the_rates() -> None:
    text = "\n".join(step(number, 1, 1, rate) for number, rate in enumerate((9.0, 1.0, 4.0)))
    assert train_log.parse(text).rate() == pytest.approx(1.6)  # 2 lines: 1 s and 0.25 s a step


def test_a_speed_too_slow_for_two_digits_leaves_the_time_open() -> None:
    text = "Training for 100 steps, starting at 0...\n" + "\n".join(step(n, 1, 1, 0.0) for n in range(3))
    assert train_log.parse(text).seconds_left() is None


def test_losses_that_are_not_numbers_of_a_torn_line_are_left_out() -> None:
    torn = "(step=0000010) Train Loss ce: 0.5[rank1]:, Train Loss mse: 0.4000, Train Steps/Sec: 0.44, "
    assert train_log.parse(torn).losses() == {"mse": train_log.Loss(0.4, 0.4)}
    assert train_log.parse("(step=0000010) Train Loss ce: nan, Train Steps/Sec: 0.44, ").last is not None


NUMBERS = st.floats(0, 99, allow_nan=False).map(lambda value: round(value, 4))
STEPS = st.lists(st.tuples(NUMBERS, NUMBERS, st.booleans()), min_size=1, max_size=20)
COLOURS = st.sampled_from(["\x1b[34m", "\x1b[0m", "\x1b[1;31m", "\x1b[K", ""])
NOISE = st.sampled_from(
    [
        "interleave_reasoning repeat in rank-0 worker-0",
        "skip a sample with length 9021",
        " 50%|#####     | 1/2 [00:00<00:00, 8.1it/s]",
        "/srv/env/lib/torch/utils.py:12: UserWarning: something",
        "",
    ]
)


@given(losses=STEPS, colour=COLOURS, noise=st.lists(NOISE, max_size=5), ends=st.sampled_from(["\n", "\r\n", "\r"]))
def test_neither_order_nor_colour_nor_foreign_lines_change_what_is_read(
    losses: list[tuple[float, float, bool]], colour: str, noise: list[str], ends: str
) -> None:
    lines, wanted = [], []
    for number, (ce, mse, swapped) in enumerate(losses):
        parts = [f"Train Loss ce: {ce:.4f}, ", f"Train Loss mse: {mse:.4f}, "]
        text = "".join(reversed(parts) if swapped else parts)
        lines += noise
        lines.append(f"[{colour}2026-11-24 08:00:00{colour}] (step={number:07d}) {text}Train Steps/Sec: 1.50, ")
        wanted.append((number, {"ce": ce, "mse": mse}))
    seen = train_log.parse(ends.join(lines))
    assert [(one.step, dict(one.losses)) for one in seen.steps] == wanted


@given(st.text(max_size=400))
def test_any_text_can_be_read(text: str) -> None:
    train_log.parse(text).summary()


@given(cut=st.integers(0, 2700))
def test_a_log_cut_anywhere_never_claims_more_than_the_whole_one(cut: int) -> None:
    text = (LOGS / "finished.log").read_text()
    seen, whole = train_log.parse(text[:cut]), log("finished")
    assert set(seen.saves) <= set(whole.saves)
    assert len(seen.steps) <= len(whole.steps)
    assert not seen.finished or cut >= len(text) - 1


def test_the_part_after_the_recorded_start_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("old\nnew\n")
    assert train_log.read_part(str(path), 4) == "new\n"
    assert train_log.read_part(str(path), 9) == "old\nnew\n", "a file shorter than the offset was made anew"


def test_a_big_log_is_read_at_both_ends_in_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    lines = [f"line {number:06d}" for number in range(50_000)]
    path.write_text("\n".join(lines) + "\n")
    seen = train_log.read_part(str(path), head=1000, tail=2000)
    assert len(seen) <= 3000
    assert set(seen.splitlines()) <= set(lines)
    assert seen.splitlines()[0] == lines[0]
    assert seen.splitlines()[-1] == lines[-1]


@pytest.mark.parametrize("kind", ["nothing", "folder", "pipe", "link"])
def test_what_is_no_plain_file_reads_as_nothing_and_never_waits(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log.txt"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        (tmp_path / "secret").write_text("secret")
        path.symlink_to(tmp_path / "secret")
    assert train_log.read_part(str(path)) == ""


ADAPTERS = "[2026] canvas-fleet lora: 392 adapters, 161480704 parameters, rank 32, base 1130 tensors loaded"


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        pytest.param([], None, id="another profile"),
        pytest.param([ADAPTERS], train_log.Adapters(392, 161_480_704, 32, 1130), id="at the start"),
        pytest.param(
            [ADAPTERS, "[2026] canvas-fleet lora: |B| = 0.0123"],
            train_log.Adapters(392, 161_480_704, 32, 1130, 0.0123),
            id="after some steps",
        ),
        pytest.param(
            [ADAPTERS, "canvas-fleet lora: |B| = 1.5e-05", "canvas-fleet lora: |B| = 1e+999"],
            train_log.Adapters(392, 161_480_704, 32, 1130, 1.5e-05),
            id="a number that is none is passed over",
        ),
        pytest.param(["canvas-fleet lora: |B| = 0"], None, id="without adapters"),
    ],
)
def test_adapters_are_read(lines: list[str], seen: train_log.Adapters | None) -> None:
    assert train_log.parse("\n".join(lines)).summary().adapters == seen
