"""Writes the demo's data set exactly as the user's converter leaves his own: its faults are the point.

Text items carry no `index`, so the column comes back as float with nulls; pandas writes one row group; the info
files name the files by the paths of another machine; the test set's info has another form than the training set's.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from demo.puzzles.pictures import composite, picture
from demo.puzzles.puzzle import Puzzle, puzzles, question_text, solution_texts

FOREIGN_FOLDER = "/home/ubuntu/projects/spatial/BlockMovingSFT/data/output"  # of the machine that "made" the files


def _row(task_id: int, puzzle: Puzzle) -> dict[str, Any]:
    solution: list[dict[str, Any]] = []
    texts = solution_texts(puzzle)
    for index, text in enumerate(texts[:-1]):
        solution += [{"type": "text", "content": text}, {"type": "image", "index": index}]
    return {
        "task_id": task_id,
        "answer": puzzle.answer,
        "question_interleave": [{"type": "text", "content": question_text(puzzle)}, {"type": "image", "index": 0}],
        "solution_interleave": [*solution, {"type": "text", "content": texts[-1]}],
        "question_images": [{"bytes": composite(puzzle.start, puzzle.states[-1], puzzle.answer)}],
        "solution_images": [{"bytes": picture(state)} for state in puzzle.states],
    }


def _write_info(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def write_dataset(folder: Path, rows_train: int = 613, rows_test: int = 69, seed: int = 42) -> None:
    """The four files of the user's data/output: the training and test parquet and their info files."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(number, puzzle) for number, puzzle in enumerate(puzzles(rows_train + rows_test, seed), start=1)]
    whole = BytesIO()
    pd.DataFrame(rows).to_parquet(whole)
    frame = pd.read_parquet(whole)  # the split reads the converter's file back: here the index turns into float
    order = np.random.RandomState(seed).permutation(len(frame))
    for name, chosen in (("train", order[:rows_train]), ("test", order[rows_train:])):
        frame.iloc[chosen].reset_index(drop=True).to_parquet(folder / f"{name}_split.parquet", index=False)
    _write_info(
        folder / "train_split_info.json",
        {f"{FOREIGN_FOLDER}/train_split.parquet": {"num_row_groups": 1, "num_rows": rows_train}},
    )
    _write_info(
        folder / "test_split_info.json",
        {"num_samples": rows_test, "file_path": f"{FOREIGN_FOLDER}/test_split.parquet"},
    )


if __name__ == "__main__":
    import sys

    write_dataset(Path(sys.argv[1]))
