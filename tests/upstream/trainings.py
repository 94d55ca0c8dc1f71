"""Trainings by upstream's own main() on the CPU, with made batches: what they logged and saved."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.trainer import log as trainer_log

from demo.gpu_proof import starts
from demo.minicanvas.tiny_model import write_model

PROBE = Path(starts.__file__).parent / "train_probe.py"


@dataclass
class Trained:
    """`losses`: (ce, mse) as printed, by step."""

    text: str
    folder: Path
    code: int

    @property
    def losses(self) -> dict[int, tuple[float, ...]]:
        read = trainer_log.Reader()
        steps = [step for line in trainer_log.plain(self.text) if (step := read.feed(line))]
        return {step.step: tuple(sorted(step.losses.items())) for step in steps}  # type: ignore[misc]

    def said(self, pattern: str) -> list[str]:
        return re.findall(pattern, self.text)

    def tensors(self, step: int, name: str = "adapter") -> dict[str, Any]:
        from safetensors.torch import load_file

        return dict(load_file(self.folder / f"checkpoints/{step:07d}/{name}.safetensors"))


def small(upstream: Path, folder: Path, layers: int = 2) -> Path:
    """A model folder of the real classes, narrow and shallow."""
    write_model(folder / "tokenizer")
    words = [str(upstream), str(folder / "tokenizer"), str(folder / "model"), "128", str(layers), "0"]
    subprocess.run([sys.executable, str(PROBE.parent / "small_model.py"), *words], check=True, capture_output=True)
    return folder / "model"


def train(tree: Path, model: Path, out: Path, *words: str, ranks: int = 1, shards: int = 0, steps: int = 4) -> Trained:
    """Steps 0 … `steps` of a training in `out`, which goes on from its newest checkpoint."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "job.json").write_text(json.dumps({"report": str(out / "report"), "made": True}))
    (out / "data.yaml").write_text("{}\n")
    given = {
        "dataset_config_file": out / "data.yaml",
        "finetune_from_hf": True,
        "model_path": model,
        "auto_resume": True,
        "resume_from": model,
        "resume_model_only": True,
        "finetune_from_ema": True,
        "results_dir": out,
        "checkpoint_dir": out / "checkpoints",
        "enable_wandb": False,
        "num_shard": shards or ranks,
        "num_replicate": ranks // (shards or ranks),
        "max_latent_size": 64,
        "warmup_steps": 0,
        "lr": 1e-2,
        "log_every": 1,
        "save_every": 2,
        "total_steps": steps,
        "num_workers": 1,
        "ema": 0,
    }
    flags = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={ranks}", "--master_port=29579"]
    argv = [*launch, str(PROBE), str(tree), str(out / "job.json"), "--", *flags, *words]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tree, timeout=300, env=env)
    return Trained(done.stderr, out, done.returncode)
