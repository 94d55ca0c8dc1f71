"""Parquet files as the user's converter leaves them, and a host's folders, for the tests of the dataset role."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import controller as dataset_controller
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.decide import wanted_digest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.originals import prepare
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.record import incoming, layout
from ansible_collections.canvas.fleet.plugins.module_utils.system.ownership import Owner
from PIL import Image

STRUCT = pa.struct([("type", pa.string()), ("content", pa.string()), ("index", pa.int64())])


def picture(number: int = 0, size: tuple[int, int] = (24, 24)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (number % 256, number // 256 % 256, 90)).save(out, "png")
    return out.getvalue()


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "content": content}


def image(index: Any = 0) -> dict[str, Any]:
    return {"type": "image", "index": index}


def row(number: int = 0, **other: Any) -> dict[str, Any]:
    """A good row; another number is another puzzle."""
    return {
        "task_id": number,
        "answer": "ABCD"[number % 4],
        "question_interleave": [text(f"Which moves? {number}"), image(0)],
        "solution_interleave": [text("First"), image(0), text("then"), image(1), text("done")],
        "question_images": [{"bytes": picture(number)}],
        "solution_images": [{"bytes": picture(number + 1)}, {"bytes": picture(number + 2)}],
        **other,
    }


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """As the user's converter and split do: written by pandas, read back, written again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = io.BytesIO()
    pd.DataFrame(rows).to_parquet(whole)
    pd.read_parquet(whole).to_parquet(path, index=False)
    return path


def write_grouped(path: Path, rows: list[dict[str, Any]], group: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    return path


LIMITS = {
    "run_config_max_num_tokens_per_sample": 16384,
    "run_config_max_num_tokens": 36864,
    "run_config_expected_num_tokens": 8192,
    "run_config_prefer_buffer_before": 16384,
    "run_config_use_flex": True,
}


def topology(world_size: int = 2, num_workers: int = 2) -> Topology:
    return Topology("atlas", ("atlas",), 0, world_size, num_workers, "localhost", 29501)


def settings(host: Path, train: Path | str, test: Path | str = "", **other: Any) -> dict[str, Any]:
    """The variables of the dataset role for a host whose folders lie under `host`."""
    return {
        "dataset_source": "controller",
        "dataset_train": str(train),
        "dataset_test": str(test),
        "dataset_train_sha256": "",
        "dataset_test_sha256": "",
        "dataset_repo": "",
        "dataset_commit": "",
        "dataset_output_dir": str(host / "data" / "output"),
        "dataset_train_dir": str(host / "train"),
        "dataset_train_file": str(host / "train" / "train_split.parquet"),
        "dataset_info_path": str(host / "train" / "train_split_info.json"),
        "dataset_reshard": True,
        "dataset_drop_bad_rows": False,
        "world_size": 2,
        "num_workers": 2,
        "fleet_state_dir": str(host / "state"),
        **LIMITS,
        **other,
    }


def copy_originals(wanted: dict[str, Any]) -> None:
    """What the role's first two tasks do: look at the controller's files, make room, copy what lacks."""
    asked = {**wanted, "dataset_train_sha256": "", "dataset_test_sha256": ""}
    wanted.update(dataset_controller.digests_of(dataset_controller.facts(asked)))
    paths = layout(wanted)
    digests = {kind: digest for kind in paths.originals if (digest := wanted_digest(wanted, kind))}
    for kind in prepare(wanted, paths, digests, Owner(), check=False)["lacking"]:
        shutil.copy(wanted[f"dataset_{kind}"], incoming(wanted) / paths.originals[kind].name)


def parsed(row_values: Any) -> int:
    """Images that the trainer gets out of a row of to_pandas(), by its own way: images[item['index']]."""
    images = 0
    for side in ("question", "solution"):
        for item in row_values[f"{side}_interleave"]:
            if item["type"] == "image":
                content = list(row_values[f"{side}_images"])[item["index"]]["bytes"]
                images += bool(Image.open(io.BytesIO(content)).size)
    return images


def loaded(groups: int, world_size: int, num_workers: int) -> list[list[int]]:
    """Row groups of each worker of each rank, by the trainer's double floor (its shuffle only renames them)."""
    per_rank = groups // world_size
    per_worker = per_rank // max(1, num_workers)
    return [
        list(range(rank * per_rank + worker * per_worker, rank * per_rank + (worker + 1) * per_worker))
        for rank in range(world_size)
        for worker in range(max(1, num_workers))
    ]
