"""Runs the real upstream modules, in a process of its own whose working directory is their tree.

python drive.py parse | load | groups | rows | latest   < a JSON object   > one line of JSON: {"ok": …} or {"error": …}
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

sys.path[:0] = [os.getcwd(), os.path.join(os.path.dirname(os.path.abspath(__file__)), "stubs")]


class Tokenizer:
    """As much of the real one as the loader calls; a letter is a token."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) % 200 for letter in text]

    def convert_tokens_to_ids(self, token: str) -> int:
        return 201


SPECIAL = {"bos_token_id": 202, "eos_token_id": 203, "start_of_image": 204, "end_of_image": 205}


def parse(told: dict[str, Any]) -> Any:
    """The arguments as the trainer's own parser reads them, and which it knows at all."""
    from train.pretrain_unified_navit import DataArguments, ModelArguments, TrainingArguments
    from transformers import HfArgumentParser

    kinds = (ModelArguments, DataArguments, TrainingArguments)
    parser = HfArgumentParser(kinds)
    read = parser.parse_args_into_dataclasses(told["argv"])
    known = {name: getattr(field.type, "__name__", str(field.type)) for kind in kinds for name, field in _fields(kind)}
    values = {name: value for part in read for name, value in vars(part).items()}
    flags = [action for action in parser._actions if f"--{action.dest}" in action.option_strings]  # not --no_<flag>
    taken = {action.dest: [text for text in told.get("texts", ()) if _takes(action, text)] for action in flags}
    return {"values": values, "known": known, "taken": taken}


def _takes(action: Any, text: str) -> bool:
    """Whether the parser would read this text after the flag."""
    import argparse

    with contextlib.suppress(ValueError, TypeError, argparse.ArgumentTypeError):
        return (action.type or str)(text) is not None
    return False


def _fields(kind: Any) -> Any:
    return kind.__dataclass_fields__.items()


def _packed(told: dict[str, Any]) -> Any:
    import yaml
    from data.dataset_base import DataConfig, PackedDataset

    with open(told["dataset_config_file"]) as stream:
        groups = yaml.safe_load(stream)
    names = ("expected_num_tokens", "max_num_tokens_per_sample", "max_num_tokens", "prefer_buffer_before", "use_flex")
    config = DataConfig(groups, max_latent_size=64)
    return PackedDataset(
        config,
        Tokenizer(),
        SPECIAL,
        local_rank=told["rank"],
        world_size=told["world_size"],
        num_workers=told["num_workers"],
        **{name: told[name] for name in names},
    )


def load(told: dict[str, Any]) -> Any:
    """build_datasets with the yaml, the registration and the info file, and the first batch of this rank."""
    packed = _packed(told)
    packed.set_epoch(42)
    (dataset,) = packed.grouped_datasets
    groups = len(dataset.data_paths_per_rank)
    batch = next(iter(packed)) if told.get("batch", True) else {"sample_lens": []}
    return {"class": type(dataset).__name__, "groups": groups, "lengths": batch["sample_lens"]}


def groups(told: dict[str, Any]) -> Any:
    """For each case (row groups, ranks, workers): the fewest groups that a worker gets, and how many none gets."""
    from data.distributed_iterable_dataset import DistributedIterableDataset

    found = []
    for count, ranks, workers in told["cases"]:
        shares = [
            _share(DistributedIterableDataset, count, rank, ranks, worker, workers)
            for rank in range(ranks)
            for worker in range(workers)
        ]
        seen = [group for share in shares for group in share]
        assert len(seen) == len(set(seen))
        found.append([min(map(len, shares)), count - len(seen), max(map(len, shares))])
    return found


def _share(kind: Any, count: int, rank: int, ranks: int, worker: int, workers: int) -> list[int]:
    dataset = kind("any", rank, ranks, workers)
    dataset.data_paths = [("file", number) for number in range(count)]
    dataset.set_epoch()
    with _as_worker(worker, workers):
        paths, _ = dataset.get_data_paths_per_worker()
    return [number for _, number in paths]


@contextlib.contextmanager
def _as_worker(worker: int, workers: int) -> Any:
    real = torch.utils.data.get_worker_info
    torch.utils.data.get_worker_info = lambda: SimpleNamespace(id=worker, num_workers=workers)
    try:
        yield
    finally:
        torch.utils.data.get_worker_info = real


def rows(told: dict[str, Any]) -> Any:
    """The rows that each worker of each rank reads in one pass of the real dataset class; parsing is left out."""
    from data.interleave_datasets import InterleaveReasoningIterableDataset

    seen = []
    for rank in range(told["ranks"]):
        for worker in range(told["workers"]):
            dataset = InterleaveReasoningIterableDataset(
                "interleave_reasoning",
                None,
                Tokenizer(),
                None,
                [told["folder"]],
                [1],
                told["info"],
                rank,
                told["ranks"],
                told["workers"],
            )
            dataset.parse_row = lambda row: {"row": int(row["task_id"])}
            with _as_worker(worker, told["workers"]):
                seen.append(_one_pass(dataset))
    return seen


def _one_pass(dataset: Any) -> list[int]:
    """Rows up to the loader's own word that it repeats."""
    said, found = io.StringIO(), []
    with contextlib.redirect_stdout(said):
        for data in dataset:
            if " repeat in rank" in said.getvalue():
                break
            found.append(data["row"])
    return found


def latest(told: dict[str, Any]) -> Any:
    from train.train_utils import get_latest_ckpt

    return get_latest_ckpt(told["folder"])


def load_weights(told: dict[str, Any]) -> Any:
    """What the trainer logs when it is to start from this folder."""
    from train.fsdp_utils import FSDPCheckpoint

    words: list[str] = []
    FSDPCheckpoint.try_load_ckpt(told["resume_from"], SimpleNamespace(info=words.append), None)
    return words


COMMANDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    one.__name__: one for one in (parse, load, groups, rows, latest, load_weights)
}


def main() -> None:
    told = json.load(sys.stdin)
    out, sys.stdout = sys.stdout, sys.stderr  # upstream prints a lot
    try:
        answer = {"ok": COMMANDS[sys.argv[1]](told)}
    except (Exception, SystemExit) as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    out.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
