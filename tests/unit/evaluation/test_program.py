"""An evaluation from its spec to rows on the disk, with processes that only pretend to compute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import child, folder, program
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.folder import Place
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec

from tests.unit.evaluation.conftest import SHAPES, weights

ROWS = 7
PRETEND = """
import json, os, signal, sys
rows, answers, stop, said, path = json.loads(sys.argv[1])
for number, row in enumerate(rows):
    if number == stop:
        os.kill(os.getpid(), signal.SIGKILL)
    with open(path, "a") as out:
        out.write(json.dumps(answers[str(row)]) + "\\n")
if said:
    open(said[0], "w").write(json.dumps(said[1]))
    sys.exit(1 if said[1].get("error") else 0)
"""


def made(path: str, answers: Sequence[str] = "ABCDABC") -> None:
    rows = [
        {
            "id": f"task-{number}",
            "answer": answer,
            "question_interleave": [{"type": "text", "content": f"Which of {number}?"}],
            "solution_interleave": [{"type": "text", "content": f"Answer: {answer}"}],
        }
        for number, answer in enumerate(answers)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.fixture
def given(spec: Spec) -> Spec:
    made(spec.parquet)
    weights(Path(spec.checkpoints) / "0000040/ema.safetensors", SHAPES)
    weights(Path(spec.checkpoints) / "0000040/model.safetensors", SHAPES)
    return replace(spec, step="40", ema=0.5)


Pretend = Callable[..., list[list[int]]]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Processes that write rows; returns the rows that each was given, as they start."""

    def processes(stop: int | None = None, error: dict[str, str] | None = None, row: Any = None) -> list[list[int]]:
        asked: list[list[int]] = []

        def start(spec: Spec, parts: Any, own: str, number: int, count: int) -> subprocess.Popen[bytes]:
            todo = [(part.place, list(part.missing[number::count])) for part in parts]
            asked.append([one for _place, rows in todo for one in rows])
            place, rows = next(((place, rows) for place, rows in todo if rows), (parts[0].place, []))
            answers = {
                one: {"row": one, "ce": 1.5, "mse": 0.5, "ce_tokens": 3, "mse_tokens": 4, **(row or {})} for one in rows
            }
            said = [child.said_path(f"{own}/job-{number}.json", number), {"device": "cpu", "error": error or {}}]
            argv = [sys.executable, "-c", PRETEND, json.dumps([rows, answers, stop, said, place.rows])]
            return subprocess.Popen(argv)

        monkeypatch.setattr(program, "_start", start)
        return asked

    return processes


def run(spec: Spec) -> dict[str, Any]:
    return program.run(spec, Progress(), sleep=lambda _seconds: None)


def test_rows_are_shared_out_and_all_are_there(given: Spec, pretend: Pretend) -> None:
    asked = pretend()
    answer = run(replace(given, compare_base=False, gpus=2))
    assert asked == [[0, 2, 4, 6], [1, 3, 5]]
    assert answer == {"changed": True, "rows": ROWS, "lettered": ROWS, "subjects": {"0000040": ROWS}}
    about = folder.about_in(Place(given.folder, "0000040", "loss"))
    assert about
    assert (about.rows, about.device, about.weights_file, about.step) == (ROWS, "cpu", "ema.safetensors", 40)
    assert about.ended


def test_a_second_run_computes_nothing_and_changes_no_byte(given: Spec, pretend: Pretend) -> None:
    only = replace(given, compare_base=False)
    pretend()
    run(only)
    before = {path: path.read_bytes() for path in Path(given.folder).rglob("*") if path.is_file()}
    asked = pretend()
    assert run(only)["changed"] is False
    assert asked == []
    assert {path: path.read_bytes() for path in Path(given.folder).rglob("*") if path.is_file()} == before


def test_a_kill_costs_the_rows_that_are_missing(given: Spec, pretend: Pretend) -> None:
    only = replace(given, compare_base=False)
    pretend(stop=3)
    with pytest.raises(FleetError, match="killed"):
        run(only)
    asked = pretend()
    run(only)
    assert asked == [[3, 4, 5, 6]]


def test_the_base_is_evaluated_once(given: Spec, pretend: Pretend) -> None:
    pretend()
    run(replace(given, step="base"))
    asked = pretend()
    assert run(given)["subjects"] == {"base": ROWS, "0000040": ROWS}
    assert asked == [list(range(ROWS))]


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"commit": "d" * 40}, {"timestep_shift": 2.0}, {"vae_transform": {"max_image_size": 1024}}]
)
def test_another_question_begins_anew(given: Spec, pretend: Pretend, change: dict[str, Any]) -> None:
    only = replace(given, compare_base=False)
    pretend()
    run(only)
    asked = pretend()
    run(replace(only, **change))
    assert asked == [list(range(ROWS))]


def test_another_test_file_begins_anew(given: Spec, pretend: Pretend) -> None:
    only = replace(given, compare_base=False)
    pretend()
    run(only)
    made(given.parquet, "DDDDDDD")
    asked = pretend()
    run(only)
    assert asked == [list(range(ROWS))]
    assert {one.answer for one in folder.questions_in(given.folder)} == {"D"}


def test_more_rows_go_on(given: Spec, pretend: Pretend) -> None:
    only = replace(given, compare_base=False)
    pretend()
    assert run(replace(only, rows=4))["rows"] == 4
    asked = pretend()
    run(only)
    assert asked == [[4, 5, 6]]


def test_the_word_of_a_process_reaches_the_user(given: Spec, pretend: Pretend) -> None:
    pretend(error=FleetError("this checkpoint is of another model", found="x").as_dict())
    with pytest.raises(FleetError, match="another model"):
        run(given)


def test_rows_without_letters_have_losses_alone(given: Spec, pretend: Pretend) -> None:
    made(given.parquet, ["42"] * ROWS)
    pretend()
    assert run(given)["lettered"] == 0
    with pytest.raises(FleetError, match="letter"):
        run(replace(given, mode="answers"))


def test_when_no_row_is_answered_the_first_error_is_said(given: Spec, pretend: Pretend) -> None:
    failed = {
        "letter": None,
        "parts": [],
        "text_tokens": 0,
        "pictures": 0,
        "seconds": 0.1,
        "error": "OutOfMemoryError: x",
    }
    pretend(row=failed)
    with pytest.raises(FleetError, match="OutOfMemory"):
        run(replace(given, mode="answers", compare_base=False))
    asked = pretend(row={**failed, "error": None, "letter": "A"})
    run(replace(given, mode="answers", compare_base=False))
    assert asked == [list(range(ROWS))]


def test_a_broken_test_file_is_refused(given: Spec) -> None:
    Path(given.parquet).write_bytes(b"PAR1")
    with pytest.raises(FleetError, match="test file"):
        run(given)


def test_the_spec_crosses_as_plain_data(given: Spec, pretend: Pretend) -> None:
    pretend()
    assert program.run(wire.to_dict(given), Progress())["changed"] is True


def test_a_process_sees_its_own_gpu_alone(given: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "4,6")
    two = replace(given, gpus=2)
    assert [program._environment(two, number)["CUDA_VISIBLE_DEVICES"] for number in (0, 1)] == ["4", "6"]
    monkeypatch.delitem(os.environ, "CUDA_VISIBLE_DEVICES")
    assert [program._environment(two, number)["CUDA_VISIBLE_DEVICES"] for number in (0, 1)] == ["0", "1"]
    assert program._environment(replace(given, gpus=0), 0)["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    ("cores", "gpus", "threads"), [(2, 0, "1"), (16, 0, "8"), (16, 2, "4"), (2, 8, "1"), (None, 0, "1")]
)
def test_the_processes_share_half_of_the_cores(
    given: Spec, monkeypatch: pytest.MonkeyPatch, cores: int | None, gpus: int, threads: str
) -> None:
    monkeypatch.setattr(program.os, "cpu_count", lambda: cores)
    made = program._environment(replace(given, gpus=gpus), 0)
    assert {made[name] for name in program.THREADS} == {threads}
