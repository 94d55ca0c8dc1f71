"""The core of the role export at BAGEL's size: seconds, bytes on the disk, digests; then upstream's own loaders.

    python -m demo.gpu_proof.export BAGEL_CANVAS APP BASE RESULTS [--step 1]

RESULTS/checkpoints has a save of the trainer (`demo.gpu_proof.starts --save --keep` makes one), BASE is the model
folder it began with, and APP is Bagel's app.py. Both exports are made, and made again; the checkpoint goes, as a
rotation takes it; sha256sum reads the first export; the trainer's reasoner and APP load one each, on a GPU each.
Every event is a line of JSON at once. Without a GPU the CPU stands in for it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import export_folder
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.export_choice import ExportSpec
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.seal import Place
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress

from demo.gpu_proof import starts

LOADER = Path(__file__).parents[2] / "tests/upstream/load_export.py"


def say(what: str, **more: Any) -> None:
    print(json.dumps({"what": what, **more}), flush=True)


def free(folder: Path) -> int:
    os.sync()
    seen = os.statvfs(folder)
    return seen.f_bfree * seen.f_frsize


def export(spec: ExportSpec, results: Path, name: str) -> Path:
    before, began = free(results), time.monotonic()
    made = export_folder.make(spec, "# A card\n", Progress())
    seconds, after = time.monotonic() - began, free(results)
    files = {path.name: path.stat().st_nlink for path in sorted(Path(made["path"]).iterdir())}
    say(name, seconds=round(seconds, 2), more_bytes_on_disk=before - after, names_of_each_file=files, **made)
    return Path(made["path"])


def checked(folder: Path) -> None:
    began = time.monotonic()
    done = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    good = sum(line.endswith(": OK") for line in lines)
    say("sha256sum", seconds=round(time.monotonic() - began, 1), good=good, of=len(lines), code=done.returncode)


def load(canvas: Path, way: str, source: Path, folder: Path, gpu: int) -> None:
    began = time.monotonic()
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": str(gpu)}
    argv = [sys.executable, str(LOADER), way, str(source), str(folder), "ema.safetensors"]
    done = subprocess.run(argv, cwd=canvas, env=env, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"error": done.stderr[-1500:]}
    say(way, seconds=round(time.monotonic() - began, 1), folder=folder.name, **found)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("canvas", "app", "base", "results"):
        parser.add_argument(name, type=lambda word: Path(word).resolve())
    parser.add_argument("--step", type=int, default=1)
    asked = parser.parse_args()
    starts.stand_in(asked.results)
    checkpoints = asked.results / "checkpoints"
    names = sorted(path.name for path in asked.base.iterdir() if path.is_file())
    place = Place(str(checkpoints), str(asked.results / "kept"))
    folders = {}
    for turn in ("first", "again"):
        for kind in ("ema", "model"):
            spec = ExportSpec(place, str(asked.results), str(asked.base), names, asked.step, kind, 0.9)
            folders[kind] = export(spec, asked.results, f"export of {kind}, {turn}")
    shutil.rmtree(checkpoints)
    reasoner = asked.canvas / "mathcanvas_interleave_reasoner.py"
    with ThreadPoolExecutor(3) as pool:
        pool.submit(checked, folders["ema"])
        pool.submit(load, asked.canvas, "reasoner", reasoner, folders["ema"], 0)
        pool.submit(load, asked.canvas, "app", asked.app, folders["model"], 1)


if __name__ == "__main__":
    main()
