"""Upstream's way to answers, for the tests of its traps: the script of the demo's trainer, run by torchrun."""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import rows

from tests.integration.minicanvas_evaluation import FEW, ROWS
from tests.integration.minicanvas_run import Run, kill, launcher, wait_for

ITERATIONS = 2  # of a solution: of the base each is a text
LOOK = 1.0  # seconds in which ranks that wait do nothing
SAYS_SIZES = """
import os

_update = InterleaveInferencer.update_context_image


def _says(self, image, *given, **named):
    sizes = (*image.size, *self.vit_transform.size(*image.size))
    os.write(1, ("SIZES " + " ".join(map(str, sizes)) + "\\n").encode())  # whole, beside another rank's lines
    return _update(self, image, *given, **named)


InterleaveInferencer.update_context_image = _says
"""


class Script:
    """Questions as lines, and their pictures as files, as the script reads them."""

    def __init__(self, root: Path, run: Run) -> None:
        self.root, self.run, self.out = root, run, root / "out"
        self.lines = []
        for number, row in enumerate(rows.read(str(run.made / "output/test_split.parquet"))):
            parts = []
            for kind, content in rows.side(row, "question"):
                if kind == "image":
                    (root / f"{number}.png").write_bytes(content)
                parts.append({"type": kind, "content": f"{number}.png" if kind == "image" else content})
            self.lines.append(json.dumps({"id": number, "question_interleave": parts}))

    def start(self, ranks: int, questions: int = ROWS, **changes: Any) -> subprocess.Popen[bytes]:
        (self.root / "questions.jsonl").write_text("\n".join(self.lines[:questions]))
        flags = {
            "dataset_type": "mathcanvas", "input_path": self.root / "questions.jsonl", "image_root": self.root,
            "model_path": self.run.made / "model", "checkpoint_dir": self.run.made / "model",
            "checkpoint_file": "ema.safetensors", "output_dir": self.out, "add_timestamp": "false",
            **FEW, "max_iterations": ITERATIONS, **changes,
        }  # fmt: skip
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        command, env = launcher(ranks)
        with (self.root / "output").open("wb") as output:
            return subprocess.Popen(
                [*command, "mathcanvas_interleave_reasoner.py", *words],
                cwd=self.run.code, env=env, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def __call__(self, ranks: int, questions: int = ROWS, **changes: Any) -> int:
        process = self.start(ranks, questions, **changes)
        try:
            return process.wait(90)
        finally:
            kill(self.run.code)

    def until_it_waits(self, ranks: int, questions: int, answers: int) -> Waited:
        """Until the last rank has left and so many questions are answered, and LOOK seconds more."""
        process, left = self.start(ranks, questions), f"Rank {ranks - 1} has completed all its assigned tasks."
        try:
            wait_for(lambda: left in self.output and len(self.answered()) >= answers)
            time.sleep(LOOK)
            quiet = not re.search(r"Traceback|Batch inference completed", self.output)
            return Waited(self, process.poll() is None and quiet, self.output)
        finally:
            kill(self.run.code)

    @property
    def output(self) -> str:
        return (self.root / "output").read_text()

    def answered(self) -> dict[int, bytes]:
        return {int(path.parent.name): path.read_bytes() for path in self.out.glob("*/*/reasoning_result.json")}


@dataclass(frozen=True)
class Waited:
    """`waits`: its ranks neither went on nor said why, until it was killed. `output`: what it had said until then."""

    script: Script
    waits: bool
    output: str
