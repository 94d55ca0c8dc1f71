"""LoRA at BAGEL's size on this machine's GPUs: the deployed trainer's own main(), started by the script of run_config.

    python -m demo.gpu_proof.lora BAGEL_CANVAS WORK [--seconds 240] [--parts "warm;sharded;…"] [--layers 28]

Run by the training environment's python, with the checkout and its `collections` folder in PYTHONPATH. It makes a
random model and 64 puzzles below WORK (a RAM disk, say), and copies of the code with the patches of each profile. Each
part is one start of the rendered script (train_probe.py looks at it from inside). A part that fails stops no other.
Every event is a line of JSON at once; WORK/table.json has them all. Without a GPU the CPU stands in for it: --small.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit import memory
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import log as trainer_log
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import row_groups
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import BAGEL

from demo.gpu_proof import starts
from demo.gpu_proof.lora_parts import PARTS, Part
from tests.unit.support import run_texts
from tests.unit.support.run_settings import settings, topology

HERE = Path(__file__).parent
WORKERS, ROWS = 2, 64
SHIM = """#!{python}
import os, sys
words, job = sys.argv[1:], os.environ["FLEET_PROBE_JOB"]
at = words.index("-m")
run = [sys.executable, "-m", "torch.distributed.run", *words[:at], {probe!r}, os.getcwd(), job, "--", *words[at + 2 :]]
os.execv(run[0], run)
"""
SMALL = {
    "run_config_use_flex": False,  # needs a GPU
    "nvidia_gpu_expected": False,
    "run_config_expected_num_tokens": 1024,  # one puzzle a batch
    "run_config_prefer_buffer_before": 1024,
}
MERGED = ("a", 4)  # the run and the step whose adapters are merged


class Stage:
    """Everything that the parts share, and the events."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.begin = options, time.monotonic()
        self.work = Path(options.work)
        self.events: list[dict[str, Any]] = []
        self.done: dict[str, bool] = {}
        self.lock = threading.Lock()

    @property
    def left(self) -> float:
        return self.options.seconds - (time.monotonic() - self.begin)

    def say(self, what: str, **more: Any) -> None:
        event = {"t": round(time.monotonic() - self.begin, 1), "what": what, **more}
        with self.lock:
            self.events.append(event)
            print(json.dumps(event), flush=True)
            (self.work / "table.json").write_text(json.dumps(self.events, indent=1) + "\n")

    def tree(self, profile: str) -> Path:
        changes = {"run_config_optimizer": "adamw_fused", "run_config_ema": 0.0, "canvas_code_lean": True}
        folder = self.work / f"tree-{profile}"
        return starts.patched(Path(self.options.canvas), folder, training_profile=profile, **changes)

    def prepare(self, parts: list[Part]) -> None:
        """Code, data, a torchrun that starts the probe, and the folders that the script expects."""
        from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import copy as parquet_copy

        from demo.puzzles.generate import write_dataset

        for profile in sorted({part.profile for part in parts}):
            self.tree(profile)
        data = self.work / "data"
        write_dataset(data / "source", ROWS, 2)
        sizes = row_groups.row_groups(ROWS, 2, WORKERS)
        parquet_copy.write_copy(
            str(data / "source/train_split.parquet"), data / "train_split.parquet", sizes, (), lambda _: None
        )
        info = {str(data / "train_split.parquet"): {"num_row_groups": len(sizes), "num_rows": ROWS}}
        (data / "info.json").write_text(json.dumps(info))
        for path in (self.work / "prefix/bin", self.work / "cuda", self.work / "parts"):
            path.mkdir(parents=True, exist_ok=True)
        shim = self.work / "prefix/bin/torchrun"
        shim.write_text(SHIM.format(python=sys.executable, probe=str(HERE / "train_probe.py")))
        shim.chmod(0o755)

    def model(self, layers: int) -> Path:
        return self.work / ("model-small" if self.options.small else f"model-{layers}")

    def make_model(self, layers: int) -> None:
        if (self.model(layers) / "go").exists():
            return
        began, script = time.monotonic(), "small_model.py" if self.options.small else "real_model.py"
        size = ["128", "2"] if self.options.small else [str(layers), "fast"]
        words = [sys.executable, str(HERE / script), self.options.canvas, str(self.work / "tokenizer")]
        done = subprocess.run([*words, str(self.model(layers)), *size], capture_output=True, text=True, check=False)
        self.say("model", layers=layers, seconds=round(time.monotonic() - began, 1), error=done.stderr[-1500:])
        if done.returncode == 0:
            (self.model(layers) / "go").touch()

    def steps(self, number: int) -> int:
        """Half as many with a small model, whose steps the CPU makes."""
        return number // 2 if self.options.small else number

    def checkpoint(self, run: str, step: int) -> Path:
        return self.work / "runs" / run / f"checkpoints/{self.steps(step):07d}"

    def source(self, part: Part) -> Path:
        """The model folder that a part starts from."""
        return self.work / "merged" if part.merged else self.model(part.layers or self.options.layers)

    def topology(self, part: Part) -> Topology:
        workers = 1 if part.made else WORKERS  # made batches are numbered by one worker
        return topology(nproc_per_node=part.ranks, num_workers=workers, master_port=29600 + PARTS.index(part))

    def script(self, part: Part) -> Path:
        """The script of run_config for this part, written as the role writes it."""
        small = {**SMALL, "run_config_optimizer": "adamw_fused"} if self.options.small else {}
        folder = self.work / "runs" / (part.run or part.place)
        place = self.work / "parts" / part.place
        place.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        model, tree = str(self.source(part)), self.work / f"tree-{part.profile}"
        cache = str(self.work / "cache")
        values = {
            "fleet_user": getpass.getuser(),
            "fleet_group": getpass.getuser(),
            "canvas_code_dir": str(tree),
            "conda_env_prefix": str(self.work / "prefix"),
            "nvidia_cuda_home": str(self.work / "cuda"),
            "dataset_train_dir": str(self.work / "data"),
            "dataset_info_path": str(self.work / "data/info.json"),
            "weights_dir": model,
            "run_config_resume_from": model,
            "training_results_dir": str(folder),
            "training_checkpoint_dir": str(folder / "checkpoints"),
            "run_config_yaml": str(tree / "data/configs/blockmoving_sft.yaml"),
            "run_config_script": str(place / "train.sh"),
            "training_profile": part.profile,
            "run_config_optimizer": part.optimizer,
            "run_config_ema": 0.0,
            "run_config_total_steps": self.steps(part.steps),
            "run_config_save_every": max(1, self.steps(part.save_every)),
            "run_config_log_every": 1,
            "run_config_del_previous_state": False,
            "run_config_warmup_steps": 0,
            "run_config_lr": 0.0005 if part.profile == "lora" else 1e-5,
            "run_config_env": {"TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": f"{cache}/triton"},
            "training_lora_rank": 32,
            "training_lora_alpha": 64.0,
            "training_lora_dropout": 0.0,
            "training_lora_targets": "all",
            "training_lora_connectors": True,
            **part.changes,
            **small,
        }
        chosen = settings(self.work, **values)
        run_texts.converge(chosen, self.topology(part), "")
        job = {
            "report": str(place / "report"),
            "bytes": part.bytes,
            "go": str(place / "go"),
            "hold": str(self.work / "warm") if part.hold and not self.options.small else "",
            "made": part.made or self.options.made,
        }
        (place / "job.json").write_text(json.dumps(job))
        return place


def planned(part: Part, layers: int) -> dict[str, float]:
    """GB of each phase on each GPU as the plan has it, without CUDA's own; the puzzles have up to 9,761 tokens."""
    model = replace(BAGEL, llm=BAGEL.llm - (BAGEL.layers - layers) * BAGEL.layer, layers=layers)
    run = memory.Run(model, part.ranks, sample_tokens=9_761, text_share=0.01, optimizer=part.optimizer)
    run = replace(run, offload=bool(part.changes.get("run_config_cpu_offload")), ema_copy=False)
    run = {"lora": run.adapted(), "frozen": run.frozen(ema_copy=False), "full": run}[part.profile]
    phases = memory.gpu_phases(run).items()
    return {phase: round((sum(items.values()) - memory.CONTEXT) / 1e9, 1) for phase, items in phases}


def log_of(folder: Path) -> trainer_log.TrainLog:
    path = folder / "said.txt"
    return trainer_log.parse(path.read_text(errors="replace") if path.exists() else "")


def lines_of(place: Path, ranks: int) -> list[list[dict[str, Any]]]:
    """What each rank reported."""
    paths = [place / f"report.{rank}" for rank in range(ranks)]
    return [[json.loads(text) for text in path.read_text().splitlines()] if path.exists() else [] for path in paths]


def report_of(place: Path, ranks: int) -> dict[str, Any]:
    """Of each phase the worst rank: seconds (for steps the median) and the peaks. And of rank 0: seconds a step, and
    digests of what was saved."""
    found: dict[str, dict[str, list[float]]] = {}
    reported = lines_of(place, ranks)
    for line in (line for lines in reported for line in lines):
        for name, value in line.items():
            if isinstance(value, float) and name != "at":
                found.setdefault(line["phase"], {}).setdefault(name, []).append(value)
    ends = [line["at"] for line in reported[0] if line["phase"] == "optimizer.step"]
    apart = sorted(late - early for early, late in itertools.pairwise(ends))
    saves = {line["step"]: line["digest"] for line in reported[0] if line["phase"] == "save"}
    more = {"seconds a step": round(apart[len(apart) // 2], 2) if apart else None, "saved": saves}
    return more | {
        phase: {
            name: sorted(values)[len(values) // 2] if name == "seconds" and len(values) > 2 else max(values)
            for name, values in sizes.items()
        }
        for phase, sizes in found.items()
    }


class Runner:
    """Starts a part, waits for what has to come before it, and says what came of it."""

    def __init__(self, stage: Stage, part: Part) -> None:
        self.stage, self.part = stage, part
        self.place = stage.script(part)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Imports begin at once; the probe then waits for its file."""
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": self.part.gpus, "FLEET_PROBE_JOB": str(self.place / "job.json")}
        with (self.place / "said.txt").open("wb") as said, (self.place / "out.txt").open("wb") as out:
            argv = ["bash", str(self.place / "train.sh")]
            return subprocess.Popen(argv, stdout=out, stderr=said, env=env, start_new_session=True)

    def run(self) -> None:
        stage, part = self.stage, self.part
        model = stage.source(part) / "go"
        if part.after and "warm" not in part.after:  # imports of all at once would slow down those that are awaited
            wait(lambda: "warm" in stage.done, stage)
        self.process = self.start()
        wait(lambda: (all(name in stage.done for name in part.after) and model.exists()) or self.over, stage)
        if self.over:
            self.end("ended before it was to begin")
            return
        if stage.left < part.seconds:
            self.end(f"left out: {stage.left:.0f} s left, it takes {part.seconds:.0f} s")
            return
        run, step = part.copied
        if run:
            checkpoint = stage.checkpoint(run, step)
            shutil.copytree(checkpoint, stage.work / "runs" / part.run / "checkpoints" / checkpoint.name)
        (self.place / "go").touch()
        begin = time.monotonic()
        plan = {} if stage.options.small else planned(part, part.layers or stage.options.layers)
        stage.say("begins", part=part.name, plan=plan)
        while self.process.poll() is None and stage.left > 0:
            time.sleep(0.2)
            last = log_of(self.place).last
            if part.kill and last and last.step >= stage.steps(part.kill):
                self.kill()
                break
        cut = "" if self.process.poll() is not None or part.kill else "ended: no time was left"
        self.end(cut, seconds=round(time.monotonic() - begin, 1))

    @property
    def over(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """Every process of this part: torchrun's ranks are each in a session of their own."""
        mark = f"FLEET_PROBE_JOB={self.place / 'job.json'}".encode()
        for entry in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in entry.read_bytes().split(b"\0"):
                    os.kill(int(entry.parent.name), signal.SIGKILL)

    def end(self, why: str, **more: Any) -> None:
        self.kill()
        code = self.process.wait() if self.process else None
        said = log_of(self.place)
        text = (self.place / "said.txt").read_text(errors="replace")
        lora = [line.partition("canvas-fleet lora: ")[2] for line in trainer_log.plain(text) if "fleet lora: " in line]
        more |= {"phases": report_of(self.place, self.part.ranks), "lora": lora, "loaded": said.weights_from}
        more["losses"] = {step.step: list(step.losses.values()) for step in said.steps}
        if (code or why) and not (self.part.kill and code == -signal.SIGKILL and not why):
            more["error"] = text[-2500:]
        self.stage.say(why or "ended", part=self.part.name, code=code, **more)
        self.stage.done[self.part.name] = code == 0 or bool(self.part.kill and not why)
        if self.part.name == "warm":
            (self.stage.work / "warm").touch()


def wait(true: Callable[[], bool], stage: Stage) -> None:
    while not true() and stage.left > 0:
        time.sleep(0.2)


def merged(stage: Stage) -> None:
    """Adapters of a checkpoint into the base, beside the parts that follow; then upstream's class loads the file."""
    adapters, out = stage.checkpoint(*MERGED) / "adapter.safetensors", stage.work / "merged"
    wait(lambda: "streamed, 1 card" in stage.done, stage)
    if not adapters.exists():
        return
    base = stage.model(stage.options.layers)
    out.mkdir(exist_ok=True)
    for path in base.iterdir():
        if path.name not in ("ema.safetensors", "go"):
            shutil.copy(path, out / path.name)
    probe, found = [sys.executable, "-m", "demo.gpu_proof.merge_probe"], {}
    words = ["merge", base / "ema.safetensors", adapters, out / "ema.safetensors"], ["load", stage.options.canvas, out]
    for what in words:
        begin, argv = time.monotonic(), [*probe, *map(str, what)]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=max(1, stage.left))
            found = {"found": done.stdout[-1200:], "error": done.stderr[-1500:] if done.returncode else ""}
        except subprocess.TimeoutExpired:
            found = {"error": "ended: no time was left"}
        stage.say(str(what[0]), seconds=round(time.monotonic() - begin, 1), **found)
        if found["error"]:
            return
    (out / "go").touch()


def options_of(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.gpu_proof.lora")
    parser.add_argument("canvas", help="BAGEL-Canvas, as committed")
    parser.add_argument("work", help="a folder for models, copies and checkpoints")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--seconds", type=float, default=240, help="after which everything is ended")
    parser.add_argument("--parts", default="", help="how their names begin, with ; between them; all when empty")
    parser.add_argument("--small", action="store_true", help="a small model, for a machine without a GPU")
    parser.add_argument("--made", action="store_true", help="small batches made on the spot instead of the puzzles")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = options_of(argv)
    stage = Stage(options)
    stage.work.mkdir(parents=True, exist_ok=True)
    for name in ("runs", "parts"):
        shutil.rmtree(stage.work / name, ignore_errors=True)
    (stage.work / "warm").unlink(missing_ok=True)
    wanted = [one.strip() for one in options.parts.split(";") if one.strip()]
    parts = [part for part in PARTS if not wanted or any(part.name.startswith(one) for one in wanted)]
    absent = {part.name for part in PARTS} - {part.name for part in parts}
    stage.done |= dict.fromkeys(absent, False)
    if "warm" in absent:
        (stage.work / "warm").touch()
    starts.stand_in(stage.work)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    from demo.minicanvas.tiny_model import write_model

    write_model(stage.work / "tokenizer")
    layers = {options.layers} if options.small else {part.layers or options.layers for part in parts}
    makers = [threading.Thread(target=stage.make_model, args=(number,)) for number in sorted(layers)]
    for maker in makers:
        maker.start()
    stage.prepare(parts)
    stage.say("prepared")
    runners = [Runner(stage, part) for part in parts]
    threads = [threading.Thread(target=runner.run) for runner in runners]
    threads.append(threading.Thread(target=merged, args=(stage,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stage.say("all", failed=[name for name, good in stage.done.items() if not good and name not in absent])
    shutil.rmtree(stage.work / "runs", ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
