"""The folder of an evaluation as a host leaves it, made of the demo's puzzles, with pictures as a model draws them."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import numpy as np
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import folder as folders
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.wire import (
    About,
    AnswerRow,
    LossRow,
    Part,
    Picture,
    QuestionRow,
    Text,
)
from PIL import Image, ImageFilter

from demo.puzzles.blocks import random_stack
from demo.puzzles.pictures import SIZE, composite, picture
from demo.puzzles.puzzle import LETTERS, Puzzle, puzzles, question_text, solution_texts

SETTINGS = {"max_iterations": 10, "do_sample": False, "num_timesteps": 50, "cfg_text_scale": 4.0}
SUBJECTS = {"base": 0.27, "0000510": 0.52, "0001020": 0.71, "0001530": 0.83}  # how often each is right


def about(subject: str, mode: str, rows: int, **changes: object) -> About:
    step = folders.step_of(subject)
    given = {
        "schema": 1,
        "mode": mode,
        "subject": subject,
        "step": step,
        "weights_file": "ema.safetensors",
        "weights_digest": f"{step or 7:064x}",
        "data_digest": "ab" * 32,
        "rows": rows,
        "code_commit": "cc48f16" + "0" * 33,
        "seed": 42,
        "settings": SETTINGS if mode == "answers" else {},
        "version": "0.2.0",
        "started": "2026-11-29T20:00:00+00:00",
        "ended": "2026-11-29T20:31:00+00:00",
        "device": "NVIDIA H100 80GB HBM3",
        "peak_bytes": 36_200_000_000,
    }
    return About(**{**given, **changes})


def place(folder: Path, subject: str, mode: str, rows: int, **changes: object) -> folders.Place:
    made = folders.Place(str(folder), subject, mode)
    folders.begin(made, about(subject, mode, rows, **changes))
    return made


def write(folder: Path, rows: int = 12, subjects: dict[str, float] | None = None, answers: bool = True) -> None:
    """Questions, losses and answers of these subjects, the same for the same arguments."""
    subjects = SUBJECTS if subjects is None else subjects
    made = list(puzzles(rows, 7))
    _questions(folder, made)
    for name, skill in subjects.items():
        _losses(place(folder, name, "loss", rows), made, skill)
        if answers:
            _answers(place(folder, name, "answers", rows), made, skill)
    _run(folder.parent / "losses.csv")


def _questions(folder: Path, made: list[Puzzle]) -> None:
    pictures = folder / "rows/pictures"
    pictures.mkdir(parents=True)
    lines: list[object] = []
    for row, puzzle in enumerate(made):
        asked = composite(puzzle.start, puzzle.states[-1], puzzle.answer)
        question = _picture(pictures, folders.question_picture(row, "q", 1), asked)
        solution = _told(puzzle, pictures, [picture(one) for one in puzzle.states], row)
        line = QuestionRow(
            row, str(1000 + row), puzzle.answer, (Text("text", question_text(puzzle)), question), solution
        )
        lines.append(line)
    put(folder / "rows/rows.jsonl", lines)


def _told(puzzle: Puzzle, pictures: Path, drawn: list[bytes], row: int) -> tuple[Part, ...]:
    parts: list[Part] = []
    texts = solution_texts(puzzle)
    for number, (text, data) in enumerate(zip(texts, drawn, strict=False), start=1):
        parts += [Text("text", text), _picture(pictures, folders.question_picture(row, "s", number), data)]
    return (*parts, Text("text", texts[-1]))


def _picture(folder: Path, name: str, data: bytes) -> Picture:
    (folder / name).write_bytes(data)
    with Image.open(io.BytesIO(data)) as image:
        return Picture("image", name, *image.size)


def _losses(where: folders.Place, made: list[Puzzle], skill: float) -> None:
    rows, own = random.Random(11), random.Random(where.subject)  # noqa: S311 - the same rows are hard for each
    lines = []
    for row in range(len(made)):
        ce = max(0.01, 1.5 - 1.3 * skill + rows.gauss(0, 0.08) + own.gauss(0, 0.05))
        mse = max(0.01, 0.09 - 0.06 * skill + rows.gauss(0, 0.006) + own.gauss(0, 0.004))
        lines.append(LossRow(row, ce, mse, 120, 768))
    put(where.rows, lines)


def _answers(where: folders.Place, made: list[Puzzle], skill: float) -> None:
    dice = random.Random(f"{where.subject}")  # noqa: S311
    Path(where.pictures).mkdir(exist_ok=True)
    lines: list[object] = []
    for row, puzzle in enumerate(made):
        right = dice.random() < skill
        letter = puzzle.answer if right else dice.choice([*(one for one in LETTERS if one != puzzle.answer), None])
        parts: list[Part] = []
        states = puzzle.states if right else [random_stack(np.random.default_rng(row * 7 + at)) for at in range(2)]
        for number, state in enumerate(states, start=1):
            name = folders.answer_picture(row, number)
            data = drawn(picture(state), skill, row)
            parts += [Text("text", f"Step {number}: one cube moves. Now:"), _picture(Path(where.pictures), name, data)]
        end = (
            f"So the moves are those of option {letter}. Answer: {letter}"
            if letter
            else "I cannot say which one it is."
        )
        parts.append(Text("text", end))
        tokens = 60 + 22 * len(states) + dice.randrange(9)
        lines.append(AnswerRow(row, letter, tuple(parts), tokens, len(states), 14.0 + dice.random()))
    put(where.rows, lines)


def put(path: str | Path, lines: list[object]) -> None:
    """The lines as the host's program appends them, without waiting for the disk."""
    Path(path).write_text("".join(json.dumps(wire.to_dict(one), ensure_ascii=False) + "\n" for one in lines))


def drawn(data: bytes, skill: float, seed: int, factor: int = 2) -> bytes:
    """The picture as a model would draw it: a bit blurred, with noise, more so the less it has learned."""
    with Image.open(io.BytesIO(data)) as image:
        large = image.convert("RGB").resize((SIZE[0] * factor, SIZE[1] * factor)).filter(
            ImageFilter.GaussianBlur(3.2 * (1 - skill))
        )  # fmt: skip
    noise = np.random.default_rng(seed).normal(0, 26 * (1 - skill), (large.height, large.width, 3))
    pixels = np.clip(np.asarray(large, dtype=float) + noise, 0, 255).astype("uint8")
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG", compress_level=1)
    return out.getvalue()


def _run(path: Path) -> None:
    dice = random.Random(5)  # noqa: S311
    lines = ["step,time,ce,mse,steps_per_second"]
    for step in range(1530):
        ce, mse = 0.12 + 1.2 * 0.996**step + dice.gauss(0, 0.03), 0.03 + 0.06 * 0.997**step + dice.gauss(0, 0.003)
        lines.append(f"{step},2026-11-29 1{step // 160}:00:00,{max(0.01, ce):.5f},{max(0.001, mse):.5f},0.41")
    path.write_text("\n".join(lines) + "\n")
