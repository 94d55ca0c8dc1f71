"""A training by the deployed trainer's own main(), looked at from inside: seconds and memory of each phase.

    torchrun … train_probe.py BAGEL_CANVAS JOB -- FLAGS

JOB is a file with JSON: report (a file; each rank appends .RANK and writes a line of JSON for each phase), bytes (how
much of the card this process may take, 0 for all), go and hold (files to wait for: after the imports, and before the
first step), made (batches that are made here, instead of the data's). Without a GPU the CPU stands in for it, and the
VAE is a stand-in, too.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import start_probe

REAL = torch.cuda.is_available()


class Report:
    """One line of JSON for each phase of this rank: seconds and peak since the phase before."""

    def __init__(self, path: str) -> None:
        self.file = open(f"{path}.{os.environ['RANK']}", "a", encoding="utf-8")  # noqa: SIM115 (until the end)
        self.since = time.monotonic()
        self.batch: dict[str, float] = {}

    def phase(self, name: str, **more: Any) -> None:
        if REAL:
            torch.cuda.synchronize()
        now = time.monotonic()
        line: dict[str, Any] = {"phase": name, "seconds": round(now - self.since, 2), "at": round(now, 2), **more}
        if REAL:
            free, total = torch.cuda.mem_get_info()
            sizes = {
                "allocated": torch.cuda.max_memory_allocated(),
                "reserved": torch.cuda.max_memory_reserved(),
                "at rest": torch.cuda.memory_allocated(),
                "device": total - free,
            }
            line |= {name: round(size / 1e9, 2) for name, size in sizes.items()}
            torch.cuda.reset_peak_memory_stats()
        line["host"] = round(start_probe.memory()[0], 2)
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        self.since = time.monotonic()


class Rank:
    """Number of GPUs, where the CPU stands in: a rank modulo this is the CPU."""

    def __rmod__(self, rank: int) -> torch.device:
        return torch.device("cpu")


def cpu_too(trainer: Any, utils: Any) -> None:
    """What of main() comes after the start, on the CPU."""
    start_probe.on_cpu(utils, trainer)
    navit = importlib.import_module("modeling.bagel.qwen2_navit")
    torch.cuda.device_count = Rank  # type: ignore[assignment]
    torch.cuda.synchronize = torch.cuda.empty_cache = lambda *_: None
    torch.cuda.max_memory_allocated = torch.cuda.max_memory_reserved = lambda *_: 0
    autocast = torch.amp.autocast
    torch.amp.autocast = lambda device_type, **more: autocast("cpu", **more)  # type: ignore[assignment, misc]
    navit.sdpa_kernel = lambda backends: contextlib.nullcontext()  # one that only a GPU has
    load = trainer.load_ae

    class Pixels(torch.nn.Module):
        """Pictures made small, in the place of the VAE."""

        def encode(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.avg_pool2d(images, 8).repeat(1, 6, 1, 1)[:, :16]

    trainer.load_ae = lambda local_path: (Pixels(), load(local_path=None)[1])


class Batch:
    """A batch that is made here, in the shape of upstream's."""

    def __init__(self, samples: list[dict[str, Any]]) -> None:
        self.data = samples[0]

    def pin_memory(self) -> Batch:
        return self

    def cuda(self, device: Any) -> Batch:
        self.data = {name: value.to(device) if torch.is_tensor(value) else value for name, value in self.data.items()}
        return self

    def to_dict(self) -> dict[str, Any]:
        torch.manual_seed(1000 + self.data.pop("number"))  # the noise of a step is its own, whenever it is made
        return self.data


class Made(torch.utils.data.IterableDataset[dict[str, Any]]):
    """Texts and pictures that depend on the step and the rank alone; a resume goes on where the save was."""

    def __init__(self, *_: Any, data_status: Any = None, local_rank: int = 0, **__: Any) -> None:
        self.next = data_status["made"][0][0] + 1 if data_status else 0
        self.rank = 0 if os.environ.get("FLEET_PROBE_ALIKE") else local_rank

    def set_epoch(self, seed: int) -> None:
        pass

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in range(self.next, 1_000_000):
            yield self.sample(number)

    def sample(self, number: int) -> dict[str, Any]:
        source = torch.Generator().manual_seed(1000 * (number % 4) + self.rank)
        text, vit, vae = 22, 10, 16
        places = torch.arange(text + vit + vae)
        ids = torch.randint(3, 90, (text,), generator=source)
        return {
            "number": number,
            "batch_data_indexes": [{"dataset_name": "made", "worker_id": 0, "data_indexes": [number, 0, 0]}],
            "ce_loss_weights": torch.ones(text - 5),
            "sequence_length": len(places),
            "sample_lens": [len(places)],
            "packed_text_ids": ids,
            "packed_text_indexes": places[:text],
            "packed_position_ids": places,
            "nested_attention_masks": [torch.zeros(len(places), len(places))],
            "ce_loss_indexes": places[5:text],
            "packed_label_ids": ids[5:],
            "packed_vit_tokens": torch.randn(vit, 14 * 14 * 3, generator=source),
            "packed_vit_token_indexes": places[text : text + vit],
            "packed_vit_position_ids": torch.arange(vit),
            "vit_token_seqlens": torch.tensor([vit], dtype=torch.int32),
            "padded_images": torch.randn(1, 3, 64, 64, generator=source),
            "patchified_vae_latent_shapes": [(4, 4)],
            "packed_latent_position_ids": torch.arange(16),
            "packed_vae_token_indexes": places[text + vit :],
            "packed_timesteps": torch.randn(16, generator=source),
            "mse_loss_indexes": places[text + vit :],
        }


def wait(path: str) -> None:
    while path and not os.path.exists(path):
        time.sleep(0.1)


def watch(trainer: Any, utils: Any, report: Report, hold: str) -> None:
    """Phases of main(): build and wrap, each step's passes, the optimizer's step, each save."""
    read, wrapped, save = (
        trainer.Qwen2Config.from_json_file,
        trainer.apply_activation_checkpointing,
        utils.FSDPCheckpoint.fsdp_save_ckpt,
    )

    def begun(path: str) -> Any:
        report.phase("before the build")
        return read(path)

    def done(model: Any, **more: Any) -> Any:
        report.phase("start")
        wait(hold)
        report.phase("held")
        return wrapped(model, **more)

    batch, load = sys.modules["data.dataset_base"].SimpleCustomBatch, trainer.load_ae
    plain = batch.to_dict

    def to_dict(self: Any) -> dict[str, Any]:
        """What a batch is: its tokens, those whose next one is predicted, and its pixels."""
        data: dict[str, Any] = plain(self)
        images, words = data.get("padded_images"), data.get("ce_loss_indexes")
        pixels = images.numel() / 3 if images is not None else 0
        report.batch = {"tokens": float(data["sequence_length"]), "words": float(len(words)), "pixels": float(pixels)}
        return data

    def with_pictures(local_path: Any) -> Any:
        vae, config = load(local_path=local_path)
        encode = vae.encode

        def encoded(images: Any) -> Any:
            report.phase("before the pictures")
            made = encode(images)
            report.phase("pictures")
            return made

        vae.encode = encoded
        return vae, config

    def saved(**more: Any) -> Any:
        report.phase("between step and save")
        save(**more)
        trained = [one for group in more["optimizer"].param_groups for one in group["params"]]
        report.phase("save", step=more["train_steps"], digest=[start_probe.digest(one) for one in trained[:4]])

    trainer.Qwen2Config.from_json_file = begun
    trainer.apply_activation_checkpointing = done
    utils.FSDPCheckpoint.fsdp_save_ckpt = staticmethod(saved)
    batch.to_dict, trainer.load_ae = to_dict, with_pictures
    register_optimizer_step_pre_hook(lambda *_: report.phase("passes", **report.batch))
    register_optimizer_step_post_hook(lambda *_: report.phase("optimizer.step"))


def main() -> None:
    canvas, path = sys.argv[1:3]
    sys.argv = ["pretrain_unified_navit.py", *sys.argv[sys.argv.index("--") + 1 :]]
    sys.path.insert(0, canvas)
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    trainer = importlib.import_module("train.pretrain_unified_navit")
    utils = sys.modules["train.fsdp_utils"]
    if not REAL:
        cpu_too(trainer, utils)
    if job.get("made"):
        trainer.PackedDataset, trainer.collate_wrapper = Made, lambda: Batch
    wait(job.get("go", ""))
    if REAL and job.get("bytes"):
        device = int(os.environ["LOCAL_RANK"])
        share = job["bytes"] / torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(share, device)
    watch(trainer, utils, Report(job["report"]), job.get("hold", ""))
    trainer.main()


if __name__ == "__main__":
    main()
