"""Starts and saves of the deployed trainer with and without canvas_code_lean, on this machine's GPU, side by side.

    python -m demo.gpu_proof.starts BAGEL_CANVAS WORK [--layers 28] [--ways upstream,lean] [--ranks 1] …

Run by the training environment's python. It makes a random model of BAGEL's dimensions below WORK, puts the patches
into copies of the code, lets the trainer's own main() start from the model (start_probe.py), and shows for each way
seconds, memory and digests. Without a GPU the CPU stands in for it; take few --layers there, or --model with another.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from ansible_collections.canvas.fleet.plugins.module_utils.core.settings import Settings
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import patch as patches
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import patch_table

HERE = Path(__file__).parent
STUBS = HERE.parents[1] / "tests/upstream/stubs"
FIRST = ["--resume_model_only", "True", "--finetune_from_ema", "True"]
FROZEN = ["--freeze_llm", "True", "--freeze_vit", "True"]


def stand_in(work: Path) -> None:
    """Stand-ins for packages that the trainer imports and a start does not call, where they are absent."""
    folder = work / "stubs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for stub in STUBS.iterdir():
        if importlib.util.find_spec(stub.name) is None:
            (folder / stub.name).symlink_to(stub.resolve())
    os.environ["PYTHONPATH"] = f"{os.environ.get('PYTHONPATH', '')}:{folder}".strip(":")


class ProofError(Exception):
    """A claim that could not be shown."""


def patched(canvas: Path, tree: Path, **settings: Any) -> Path:
    """A copy of the code as the role canvas_code would have it with these settings."""
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(canvas, tree, ignore=shutil.ignore_patterns("__pycache__", ".git", "data_handlers"))
    for patch in patch_table.wanted(cast("Settings", settings)):
        path = tree / patch.path
        path.write_bytes(patches.apply(patch, path.read_bytes()))
    return tree


def model_of(options: argparse.Namespace) -> Path:
    if options.model:
        return Path(options.model)
    folder = Path(options.made or options.work) / f"model-{options.layers}"
    if not (folder / "whole").exists():
        words = [sys.executable, str(HERE / "real_model.py"), options.canvas, options.tokenizer, str(folder)]
        subprocess.run([*words, str(options.layers)], check=True)
        (folder / "whole").touch()
    return folder


def probe(options: argparse.Namespace, tree: Path, source: Path, job: dict[str, Any], flags: list[str]) -> Any:
    """Findings of each rank."""
    asked = Path(options.work) / "asked.json"
    asked.write_text(json.dumps(job))
    launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={options.ranks}", "--master_port=29577"]
    results = Path(options.work) / "results"
    shutil.rmtree(results, ignore_errors=True)
    shards = options.shards or options.ranks
    given = {
        "finetune_from_hf": True,
        "model_path": options.from_model,
        "resume_from": source,
        "results_dir": results,
        "checkpoint_dir": results / "checkpoints",
        "enable_wandb": False,
        "num_shard": shards,
        "num_replicate": options.ranks // shards,
        "max_latent_size": 64,
        "warmup_steps": 0,
        "ema": options.ema,
    }
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [*launch, str(HERE / "start_probe.py"), str(tree), str(asked), "--", *words, *flags],
        capture_output=True, text=True, check=False, cwd=tree,
    )  # fmt: skip
    found = json.loads((done.stdout.strip().splitlines() or ["{}"])[-1])
    if "ranks" not in found:
        raise ProofError(f"{found}\n{done.stderr[-4000:]}")
    return found["ranks"]


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def way(options: argparse.Namespace, name: str, canvas: Path, model: Path) -> dict[str, Any]:
    """A first start and what was asked to follow it: a save, the digests of its files, a cold start that resumes it."""
    settings = {"training_profile": options.profile, "canvas_code_lean": name == "lean"}
    tree = patched(canvas, Path(options.work) / f"tree-{name}", **settings)
    flags = [*options.flag, *(FROZEN if options.profile != "full" and not options.trained else [])]
    out = Path(options.work) / f"saved-{name}"
    shutil.rmtree(out, ignore_errors=True)
    job = {"out": str(out) if options.save else "", "step": options.steps, "steps": options.steps}
    found = {"first start": probe(options, tree, model, job, [*FIRST, *flags])}
    folder = out / f"{options.steps:07d}"
    if options.save:
        found["files"] = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    if options.save and options.digests:
        found["digests"] = {path.name: digest(path) for path in sorted(folder.glob("*.safetensors"))}
    if options.resume:
        found["resume, cold"] = probe(options, tree, folder, {"cold": str(folder)}, flags)
    if not options.keep:
        shutil.rmtree(out, ignore_errors=True)
    return found


def differences(found: dict[str, dict[str, Any]]) -> list[str]:
    """Differences between the ways: shards, buffers and moments of each rank, saved files."""
    ways = list(found.values())
    said = []
    for start in ("first start", "resume, cold"):
        for part in ("model", "EMA", "moments", "step"):
            seen = [[rank[part] for rank in one[start]] for one in ways if start in one]
            if any(one != seen[0] for one in seen):
                said.append(f"{start}: {part}")
    if len({json.dumps(one.get("digests")) for one in ways}) > 1:
        said.append("saved files")
    return said


def options_of(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.gpu_proof.starts")
    parser.add_argument("canvas", help="BAGEL-Canvas, as committed")
    parser.add_argument("work", help="a folder for models, copies and saves")
    parser.add_argument("--tokenizer", default="", help="a folder with a tokenizer; made of the demo's when empty")
    parser.add_argument("--model", default="", help="a model folder instead of one made here")
    parser.add_argument("--made", default="", help="where a model is made, if not in WORK (a RAM disk, say)")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--ways", default="upstream,lean")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--shards", type=int, default=0)
    parser.add_argument("--profile", default="full", choices=list(patch_table.PROFILES))
    parser.add_argument("--trained", action="store_true", help="frozen's patch, but train everything: no EMA with 0")
    parser.add_argument("--ema", type=float, default=0.9)
    parser.add_argument("--steps", type=int, default=0, help="updates with made-up gradients before a save")
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--keep", action="store_true", help="what was saved, in WORK/saved-WAY")
    parser.add_argument("--digests", action="store_true", help="of the saved files")
    parser.add_argument("--resume", action="store_true", help="from what was saved, out of a cold page cache")
    parser.add_argument("--flag", action="append", default=[], help="a further word for the trainer: --flag=WORD")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = options_of(argv)
    stand_in(Path(options.work))
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    if not options.tokenizer:
        from demo.minicanvas.tiny_model import write_model

        options.tokenizer = str(Path(options.work) / "tokenizer")
        write_model(Path(options.tokenizer))
    model = model_of(options)
    options.from_model = str(model)
    found = {}
    for name in options.ways.split(","):
        found[name] = way(options, name, Path(options.canvas), model)
        print(json.dumps({name: found[name]}, indent=1), flush=True)
    different = differences(found)
    print(f"differs: {'; '.join(different)}" if different else f"the same in {' and '.join(found)}", flush=True)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
