"""Evaluations at BAGEL's size on this machine's GPUs, by upstream's own classes: seconds, memory, equal bits, a kill.

    python -m demo.gpu_proof.evaluation BAGEL_CANVAS WORK [--parts model,loss,…] [--layers 28] [--small]

Run by the training environment's python, with the checkout and its `collections` folder in PYTHONPATH. It makes a
random model and 69 puzzles below WORK (a RAM disk, say); a later call with other parts finds them. Every event is a
line of JSON at once, and WORK/evaluation.json has those of the last call. Parts: model, loss, streamed, text, answers.
Without a GPU the CPU stands in for it: --small.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import folder, memory, program
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import safetensors

from demo.gpu_proof import starts

HERE = Path(__file__).parent
PARTS = ("model", "loss", "streamed", "text", "answers")
ROWS = 69
FEW = 6  # rows of the losses
SIZES = {"vae": (16, 512), "vit": (14, 512)}
SMALL = {"vae": (16, 64), "vit": (14, 56)}
CARD = 24 << 30  # bytes that are left free of the GPU for the streamed losses
HOLD = """
import sys, time, torch
free = torch.cuda.mem_get_info()[0]
held = torch.empty(max(0, free - int(sys.argv[1])), dtype=torch.uint8, device="cuda")
print("held", flush=True)
time.sleep(600)
"""
DRIVE = """
import json, sys
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import program
program.run(json.loads(sys.argv[1]), Progress())
"""


class Stage:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.begin = options, time.monotonic()
        self.work = Path(options.work).resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self.model, self.code = self.work / "model", self.work / "BAGEL-Canvas"
        self.events: list[dict[str, Any]] = []

    def say(self, what: str, **more: Any) -> None:
        self.events.append({"t": round(time.monotonic() - self.begin, 1), "what": what, **more})
        print(json.dumps(self.events[-1]), flush=True)
        (self.work / "evaluation.json").write_text(json.dumps(self.events, indent=1) + "\n")

    def spec(self, mode: str, where: str, **changes: Any) -> Spec:
        sizes = SMALL if self.options.small else SIZES
        images = {
            f"{name}_transform": {"image_stride": stride, "max_image_size": edge, "min_image_size": edge}
            for name, (stride, edge) in sizes.items()
        }
        given = {
            "mode": mode,
            "folder": str(self.work / where),
            "code": str(self.code),
            "commit": "",
            "base": str(self.model),
            "checkpoints": str(self.work / "none"),
            "kept": str(self.work / "none"),
            "results": str(self.work / "none"),
            "parquet": str(self.work / "data/test_split.parquet"),
            "step": "base",
            "gpus": 0 if self.options.small else 1,
            **images,
        }
        return Spec(**{**given, **changes})

    def part(self, name: str) -> None:
        """A part that fails stops no other."""
        try:
            {"model": model, "loss": loss, "streamed": streamed, "text": text, "answers": answers}[name](self)
        except Exception:
            self.say(f"{name} failed", error=traceback.format_exc()[-1500:])

    def prepare(self) -> None:
        from demo.minicanvas.tiny_model import write_model
        from demo.puzzles.generate import write_dataset

        if not (self.work / "data").exists():
            write_dataset(self.work / "data", 4, ROWS)
        if not self.code.exists():
            shutil.copytree(self.options.canvas, self.code, ignore=shutil.ignore_patterns("__pycache__", ".git"))
        if not (self.work / "tokenizer").exists():
            write_model(self.work / "tokenizer")
        starts.stand_in(self.work)
        if self.options.small:
            os.environ["PYTHONPATH"] += f":{HERE / 'on_cpu'}"


def seconds_a_row(place: folder.Place, stamps: list[float]) -> float | None:
    """The median between two rows: the first one of a process waits for the model."""
    gaps = [later - earlier for earlier, later in itertools.pairwise(stamps)]
    return round(statistics.median(gaps), 3) if gaps else None


def evaluated(stage: Stage, what: str, spec: Spec) -> folder.Place:
    """One evaluation, with its figures said."""
    place = folder.Place(spec.folder, "base", spec.mode)
    began, stamps, over = time.monotonic(), [], threading.Event()

    def watch() -> None:
        seen = 0
        while not over.wait(0.02):
            done = len(folder.done(place))
            if done != seen:
                stamps.append(time.monotonic())
            seen = done

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        made = program.run(spec, Progress())
        error = ""
    except Exception as failed:  # the other parts go on
        made, error = {}, f"{type(failed).__name__}: {failed}"
    finally:
        over.set()
        watcher.join()
    about = folder.about_in(place)
    need = memory.memory(
        spec.mode,
        safetensors.from_file(f"{spec.base}/ema.safetensors"),
        (stage.model / "ae.safetensors").stat().st_size,
    )
    stage.say(
        what,
        seconds=round(time.monotonic() - began, 1),
        first_row_after=round(stamps[0] - began, 1) if stamps else None,
        seconds_a_row=seconds_a_row(place, stamps),
        rows=made.get("subjects"),
        device=about.device if about else "",
        peak_gb=round((about.peak_bytes or 0) / 1e9, 2) if about else None,
        planned_gb={name: round((value or 0) / 1e9, 2) for name, value in dataclasses.asdict(need).items()},
        error=error,
    )
    return place


def model(stage: Stage) -> None:
    began = time.monotonic()
    script = "small_model.py" if stage.options.small else "real_model.py"
    size = ["128", "2"] if stage.options.small else [str(stage.options.layers), "fast"]
    words = [
        sys.executable,
        str(HERE / script),
        str(stage.code),
        str(stage.work / "tokenizer"),
        str(stage.model),
        *size,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    stage.say("model", seconds=round(time.monotonic() - began, 1), said=done.stdout[-300:], error=done.stderr[-800:])


def loss(stage: Stage) -> None:
    places = [evaluated(stage, "loss", stage.spec("loss", f"loss-{turn}", rows=FEW)) for turn in range(2)]
    first, second = (Path(place.rows).read_bytes() for place in places)
    rows = folder.rows_in(places[0])
    stage.say("loss twice", equal_bits=first == second, first=dataclasses.asdict(rows[0]) if rows else None)


def streamed(stage: Stage) -> None:
    """The same losses on a GPU where only CARD bytes are free."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(CARD)], stdout=subprocess.PIPE) as holder:
        try:
            if holder.stdout:
                holder.stdout.readline()
            place = evaluated(stage, "loss, streamed", stage.spec("loss", "loss-streamed", rows=FEW))
        finally:
            holder.kill()
    whole = folder.Place(str(stage.work / "loss-0"), "base", "loss")
    stage.say("streamed equals resident", equal=folder.rows_in(place) == folder.rows_in(whole))


def text(stage: Stage) -> None:
    """Texts alone: a random model never says that one ends."""
    few = {"max_iterations": 1, "max_text_tokens": 64 if not stage.options.small else 6}
    place = evaluated(stage, "texts", stage.spec("answers", "text", rows=3, generation=few))
    stage.say("texts", answers=[dataclasses.asdict(row) | {"parts": len(row.parts)} for row in folder.rows_in(place)])


def draws(stage: Stage) -> None:
    """Makes the random model end each text at once and then draw: a direction of its own for the end of a text."""
    import numpy

    path = stage.model / "ema.safetensors"
    header = safetensors.from_file(str(path))
    tokens = json.loads((stage.model / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    number = {entry["content"]: int(key) for key, entry in tokens.items()}
    end, start = number["<|im_end|>"], number["<|vision_start|>"]
    whole = numpy.memmap(path, "<u2", "r+", header.begin)

    def tensor(name: str) -> Any:
        found = header.tensors[name]
        return whole[found.span[0] // 2 : found.span[1] // 2].reshape(found.shape)

    one = numpy.uint16(0x3F80)  # bfloat16
    for name in header.tensors:
        if name.endswith(("model.norm.weight", "model.norm_moe_gen.weight")):
            tensor(name)[:] = one
    embed, head = tensor("language_model.model.embed_tokens.weight"), tensor("language_model.lm_head.weight")
    half = embed.shape[1] // 2
    embed[:, :half] = 0x41A0  # 20: what the layers add is small beside it
    embed[end, :half], embed[end, half:] = 0, 0x41A0
    head[end, :half], head[end, half:] = one, 0
    head[start, :half], head[start, half:] = 0, one
    whole.flush()


def answers(stage: Stage) -> None:
    """69 rows on all GPUs, killed in the middle, and the rest."""
    draws(stage)
    gpus = 0 if stage.options.small else stage.options.gpus
    few = {"max_iterations": 2, "num_timesteps": 4, "max_text_tokens": 32}
    rows = 3 if stage.options.small else ROWS
    spec = stage.spec("answers", "answers", rows=rows, generation=few, gpus=gpus)
    place = folder.Place(spec.folder, "base", "answers")
    own = [sys.executable, "-c", DRIVE, json.dumps(dataclasses.asdict(spec))]
    with subprocess.Popen(own, start_new_session=True) as process:
        while process.poll() is None and len(folder.done(place)) < rows // 2:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
    kept = {row.row for row in folder.rows_in(place)}
    stage.say("answers killed", rows_kept=len(kept))
    evaluated(stage, "answers", spec)
    found = folder.rows_in(place)
    pictures = {f"{one.width}×{one.height}" for row in found for one in row.parts if one.type == "image"}
    stage.say(
        "answers",
        rows=len(found),
        errors=sorted({row.error for row in found if row.error}),
        pictures=sum(row.pictures for row in found),
        sizes=sorted(pictures),
        seconds_a_row=round(statistics.median(row.seconds for row in found), 2) if found else None,
        kept_of_the_kill=kept <= {row.row for row in found},
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("canvas")
    parser.add_argument("work")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="a small model, for a machine without a GPU")
    stage = Stage(parser.parse_args())
    stage.prepare()
    for name in stage.options.parts.split(","):
        if not (stage.options.small and name == "streamed"):
            stage.part(name)


if __name__ == "__main__":
    main()
