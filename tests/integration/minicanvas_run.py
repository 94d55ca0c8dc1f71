"""One deployment of the demo's trainer, for the tests that start it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TRAINER = Path(__file__).parents[2] / "demo/minicanvas/BAGEL-Canvas"
PYTHON = os.environ.get("MINICANVAS_PYTHON", "")
STEP = re.compile(r"\(step=(\d{7})\) Train Loss ce: ([\d.]+), Train Loss mse: ([\d.]+), Train Steps/Sec: [\d.]+, \n")
GROUP = """\
interleave_reasoning:
  dataset_names: [blockmoving_train]
  image_transform_args: {image_stride: 16, max_image_size: 512, min_image_size: 512}
  vit_image_transform_args: {image_stride: 14, max_image_size: 512, min_image_size: 512}
  is_mandatory: true
  num_used_data: [1]
  weight: 1
"""
# Imports once what takes two seconds, and forks for each line: words, folder, environment, files for stdout and stderr.
# It answers with the return code.
STARTS = """
import json, os, runpy, sys
import numpy, pyarrow.parquet, safetensors.torch, torch.distributed.device_mesh, torch.utils.data, yaml, PIL.Image
import torch._dynamo  # as an optimizer does
child = 1
for line in sys.stdin:
    words, folder, env, *files = json.loads(line)
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
if not child:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(files, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    os.environ.update(env)
    sys.path[0], sys.argv = folder, words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
"""
Rows = list[dict[str, Any]]


def resharded(source: Path, target: Path, groups: int, change: Callable[[Rows], None] = lambda rows: None) -> None:
    """What the dataset role does: int64 index without nulls, so many row groups, an info file of this place."""
    rows = pq.read_table(source).to_pylist()
    for item in (item for row in rows for side in ("question", "solution") for item in row[f"{side}_interleave"]):
        item["index"], item["content"] = int(item["index"] or 0), item["content"] or ""
    change(rows)
    part = pa.list_(pa.struct([("type", pa.string()), ("content", pa.string()), ("index", pa.int64())]))
    image = pa.list_(pa.struct([("bytes", pa.binary())]))
    kinds = {"answer": pa.string(), "question_interleave": part, "solution_interleave": part}
    schema = pa.schema(list({**kinds, "question_images": image, "solution_images": image}.items()))
    target.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(target, schema) as writer:
        for group in range(groups):
            writer.write_table(pa.Table.from_pylist(rows[group::groups], schema=schema))


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def of_one_rank() -> dict[str, str]:
    """What torchrun would put into the environment."""
    return {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}


def launcher(processes: int) -> tuple[list[str], dict[str, str]]:
    """Command and environment: torchrun for several processes; a single one is started plainly, which saves two
    seconds."""
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", f"--master_port={free_port()}"]
        return [PYTHON, *torchrun], {**os.environ}
    return [PYTHON, "-u"], {**os.environ, **of_one_rank()}


@functools.cache
def starts() -> subprocess.Popen[str]:
    """It ends with this process, whose end of the pipe it reads."""
    return subprocess.Popen([PYTHON, "-u", "-c", STARTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


class Run:
    """One deployment of the trainer in a folder of its own."""

    def __init__(self, root: Path, made: Path, groups: int = 4) -> None:
        self.root, self.made = root, made
        self.code, self.out = root / "BAGEL-Canvas", root / "out"
        self.checkpoints = self.out / "checkpoints"
        shutil.copytree(TRAINER, self.code)
        self.parquet = root / "train" / "train_split.parquet"
        self.prepare(groups)
        self.register({"data_dir": str(self.parquet.parent), "parquet_info_path": str(root / "info.json")})
        (self.code / "data/configs/bm.yaml").write_text(GROUP)
        self.checkpoints.mkdir(parents=True)

    def prepare(self, groups: int, change: Callable[[Rows], None] = lambda rows: None) -> None:
        resharded(self.made / "output/train_split.parquet", self.parquet, groups, change)
        self.info({str(self.parquet): {"num_row_groups": groups, "num_rows": 120}})

    def info(self, content: dict[str, Any]) -> None:
        (self.root / "info.json").write_text(json.dumps(content))

    def register(self, entry: dict[str, Any]) -> None:
        text = (TRAINER / "data/dataset_info.py").read_text()
        start = "'interleave_reasoning':{\n"
        (self.code / "data/dataset_info.py").write_text(
            text.replace(start, f"{start}        'blockmoving_train': {entry!r},\n")
        )

    def flags(self, **changes: Any) -> list[str]:
        model = self.made / "model"
        flags = {
            "dataset_config_file": "./data/configs/bm.yaml", "results_dir": self.out,
            "checkpoint_dir": self.checkpoints, "model_path": model, "num_shard": 1,
            "finetune_from_hf": True, "auto_resume": True, "resume_from": model, "resume_model_only": True,
            "finetune_from_ema": True, "log_every": 1, "save_every": 3, "del_previous_state": True, "lr": 6e-3,
            "ce_weight": 1, "lr_scheduler": "cosine", "warmup_steps": 5, "total_steps": 6, "ema": 0.9, "num_workers": 1,
            "expected_num_tokens": 12288, "max_num_tokens": 24576, "max_num_tokens_per_sample": 12288,
            "prefer_buffer_before": 12288, "vit_cond_dropout_prob": 0.1, "vae_cond_dropout_prob": 0.1,
            "enable_wandb": False, **changes,
        }  # fmt: skip
        return [word for name, value in flags.items() for word in (f"--{name}", str(value))]

    def start(self, processes: int = 1, **changes: Any) -> subprocess.Popen[bytes]:
        command, env = launcher(processes)
        with (self.root / "stdout").open("wb") as stdout, (self.root / "stderr").open("wb") as stderr:
            return subprocess.Popen(
                [*command, "-m", "train.pretrain_unified_navit", *self.flags(**{"num_shard": processes, **changes})],
                cwd=self.code, env=env, stdout=stdout, stderr=stderr,
            )  # fmt: skip

    def __call__(self, processes: int = 1, **changes: Any) -> int:
        try:
            return self.alone(**changes) if processes == 1 else self.start(processes, **changes).wait(120)
        finally:
            kill(self.code)

    def alone(self, **changes: Any) -> int:
        """One rank, to its end."""
        server = starts()
        assert server.stdin
        assert server.stdout
        words = ["train.pretrain_unified_navit", *self.flags(**changes)]
        files = [str(self.root / name) for name in ("stdout", "stderr")]
        server.stdin.write(json.dumps([words, str(self.code), of_one_rank(), *files]) + "\n")
        server.stdin.flush()
        if not select.select([server.stdout], [], [], 120)[0]:
            kill(self.code)
        return int(server.stdout.readline())

    @property
    def stdout(self) -> str:
        return (self.root / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.root / "stderr").read_text()

    def steps(self) -> dict[int, tuple[float, float]]:
        """ce and mse by step, of the last start."""
        return {int(step): (float(ce), float(mse)) for step, ce, mse in STEP.findall(self.stderr)}


def kill(code: Path) -> None:
    """Every process that works in this trainer's folder: the ranks outlive torchrun, each in a session of its own."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == code:
                os.kill(int(link.parent.name), signal.SIGKILL)


def wait_for(true: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.1)


# what spoils a run


def foreign_info(run: Run) -> None:
    run.info({"/home/ubuntu/train_split.parquet": {"num_row_groups": 4}})


def guide_yaml(run: Run) -> None:
    (run.code / "data/configs/bm.yaml").write_text("data_names:\n  interleave_reasoning: [blockmoving_train]\n")


def guide_entry(run: Run) -> None:
    run.register({"path": "/x", "parquet": "train_split.parquet", "parquet_info": "train_split_info.json"})


def no_solution_pictures(run: Run) -> None:
    def change(rows: Rows) -> None:
        for row in rows:
            row["solution_interleave"] = [i for i in row["solution_interleave"] if i["type"] == "text"][:1]

    run.prepare(4, change)


def unregistered(run: Run) -> None:
    (run.code / "data/configs/bm.yaml").write_text(GROUP.replace("interleave_reasoning:", "blockmoving_cot:"))


def no_tokenizer(run: Run) -> None:
    shutil.copytree(run.made / "model", run.root / "model")
    (run.root / "model/vocab.json").unlink()


def cut(name: str, keep: float) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep)])

    return do


def lose(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()
