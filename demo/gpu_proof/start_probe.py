"""One start of the deployed trainer, looked at from inside: seconds, memory, digests; and a save, if asked for.

    torchrun … start_probe.py BAGEL_CANVAS JOB -- FLAGS

Runs the trainer's own main() with FLAGS up to the place where it would read its data. JOB is a file with JSON:
out (folder of a save, "" for none), step (its number), steps (updates with made-up gradients before it), cold (a folder
to drop from the page cache first).
Rank 0 prints one line of JSON, with what all ranks found. Without a GPU the CPU stands in for it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

WAYS = 1 << 24  # elements that are digested at a time


def memory() -> tuple[float, float]:
    """GB of this process alone, and GB of files that it maps (the page cache has them, and can drop them)."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        sizes = {line.split()[0]: int(line.split()[1]) * 1024 / 1e9 for line in file if line.endswith("kB\n")}
    return sizes["Pss_Anon:"] + sizes["Pss_Shmem:"], sizes["Pss_File:"]


class Watch(threading.Thread):
    """The most memory since the last look, in GB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = self.mapped = 0.0

    def run(self) -> None:
        while True:
            self.look()
            time.sleep(0.1)

    def look(self) -> None:
        own, mapped = memory()
        self.own, self.mapped = max(self.own, own), max(self.mapped, mapped)

    def since(self) -> dict[str, float]:
        self.look()
        found = {"host, GB": self.own, "mapped, GB": self.mapped, "host at the end, GB": memory()[0]}
        self.own = self.mapped = 0.0
        if torch.cuda.is_available():
            found["GPU, GB"] = torch.cuda.max_memory_allocated() / 1e9
            found["GPU at the end, GB"] = torch.cuda.memory_allocated() / 1e9
            torch.cuda.reset_peak_memory_stats()
        return {name: round(size, 3) for name, size in found.items()}


def on_cpu(utils: Any, trainer: Any) -> None:
    """The CPU where upstream says CUDA; everything else is its own."""
    real, mesh, group = utils.FSDP, utils.init_device_mesh, dist.init_process_group

    class Kind(type):
        def __call__(cls, *args: Any, device_id: Any = None, **more: Any) -> Any:
            return real(*args, device_id=torch.device("cpu"), **more)

        def __getattr__(cls, name: str) -> Any:
            return getattr(real, name)

    answers = iter([True])  # to the assertion of main() alone
    torch.cuda.is_available = lambda: next(answers, False)
    torch.cuda.device_count = lambda: 1
    torch.cuda.set_device = lambda device: None
    utils.FSDP = Kind("FSDP", (), {})
    utils.init_device_mesh = lambda device, **more: mesh("cpu", **more)
    trainer.dist.init_process_group = lambda backend: group("gloo")


def digest(tensor: torch.Tensor) -> str:
    """Digest of all bytes in order, computed where the tensor is: 58 GB take seconds on a GPU."""
    raw, total = tensor.detach().contiguous().view(-1).view(torch.uint8), 0
    if not raw.is_cuda:
        return hashlib.sha256(raw.numpy()).hexdigest()[:16]
    size = 2 if raw.numel() % 4 else 4
    words = raw.view(torch.int16 if size == 2 else torch.int32)
    for number, part in enumerate(words.split(WAYS)):
        places = torch.arange(part.numel(), device=part.device) + number * WAYS
        total += int(((part.to(torch.int64) + 1) * (places * -7046029254386353131 | 1)).sum())
    return f"{total % 2**64:016x}"


def shards(model: Any) -> Iterator[tuple[str, str]]:
    """Everything that a rank holds of a wrapped model: each flat parameter, each parameter and each buffer."""
    for kind, tensors in (("parameter", model.named_parameters()), ("buffer", model.named_buffers())):
        for name, tensor in tensors:
            what = f"{tensor.dtype} {list(tensor.shape)} {tensor.requires_grad} {tensor.device.type}"
            yield f"{kind} {name}", f"{what} {digest(tensor)}"


def held(model: Any) -> dict[str, Any]:
    found = dict(shards(model)) if model is not None else {}
    return {"parts": len(found), "digest": hashlib.sha256(json.dumps(sorted(found.items())).encode()).hexdigest()}


class ReachedError(Exception):
    """The trainer is where it would read its data."""

    def __init__(self, local: dict[str, Any]) -> None:
        super().__init__()
        self.local = local


def clocked(trainer: Any) -> dict[str, list[float]]:
    """[when each call began, its seconds] of the functions that a start goes through; those of them that are there."""
    utils, calls = sys.modules["train.fsdp_utils"], {}  # type: Any, dict[str, list[float]]

    def clock(home: Any, name: str) -> None:
        real = getattr(home, name, None)

        def timed(*args: Any, **more: Any) -> Any:
            begin = time.monotonic()
            try:
                return real(*args, **more)
            finally:
                calls.setdefault(name, []).extend((begin, time.monotonic() - begin))

        if real is not None:
            setattr(home, name, timed)

    for name in ("fleet_builder", "load_ae", "fleet_lora", "fsdp_wrapper", "fleet_lora_start"):
        clock(trainer, name)
    for name in ("fleet_frozen", "FleetStream", "fleet_streamed", "fleet_init"):
        clock(utils, name)
    clock(trainer.FSDPCheckpoint, "try_load_ckpt")
    return calls


def start(trainer: Any, watch: Watch, marks: dict[str, float]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The local variables of main(), and what the start took."""
    read, wrapped = trainer.Qwen2Config.from_json_file, trainer.apply_activation_checkpointing
    found: dict[str, Any] = {}
    calls = clocked(trainer)

    def config(path: str) -> Any:
        watch.since()
        marks["build"] = time.monotonic()
        return read(path)

    def checkpointing(model: Any, **more: Any) -> Any:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        found["start"] = {"seconds": round(time.monotonic() - marks["build"], 2), **watch.since()}
        found["calls"] = {
            name: {"after": round(times[0] - marks["build"], 2), "seconds": round(sum(times[1::2]), 2)}
            for name, times in calls.items()
        }
        marks["wrapped"] = time.monotonic()
        return wrapped(model, **more)

    def stop(*args: Any, **more: Any) -> Any:
        found["optimizer"] = {"seconds": round(time.monotonic() - marks["wrapped"], 2), **watch.since()}
        raise ReachedError(sys._getframe(1).f_locals)

    trainer.Qwen2Config.from_json_file = config
    trainer.apply_activation_checkpointing = checkpointing
    trainer.DataConfig = stop
    try:
        trainer.main()
    except ReachedError as reached:
        return reached.local, found
    raise RuntimeError("the trainer never came to its data")


def update(local: dict[str, Any], steps: int) -> None:
    """Steps with gradients that are made of the weights, so that model, EMA and moments differ afterwards."""
    ema_update = sys.modules["train.fsdp_utils"].fsdp_ema_update
    for _ in range(steps):
        for group in local["optimizer"].param_groups:
            for param in group["params"]:
                if param.requires_grad:
                    param.grad = param.detach().sign()
        local["optimizer"].step()
        local["optimizer"].zero_grad()
        local["scheduler"].step()
        if local["ema_model"] is not None:
            ema_update(local["ema_model"], local["fsdp_model"], decay=0.5)


def save(local: dict[str, Any], job: dict[str, Any], watch: Watch) -> dict[str, Any]:
    """Seconds and memory of a save as the trainer does it."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.synchronize()
    dist.barrier()
    watch.since()
    begin = time.monotonic()
    sys.modules["train.fsdp_utils"].FSDPCheckpoint.fsdp_save_ckpt(
        ckpt_dir=job["out"],
        train_steps=job["step"],
        model=local["fsdp_model"],
        ema_model=local["ema_model"],
        optimizer=local["optimizer"],
        scheduler=local["scheduler"],
        data_status=[{}] * dist.get_world_size(),
        logger=local["logger"],
        fsdp_config=local["fsdp_config"],
    )
    return {"seconds": round(time.monotonic() - begin, 2), **watch.since()}


def forget(folder: str) -> None:
    """Drops the files of a folder from the page cache, so that they come from the disk again."""
    for entry in os.scandir(folder):
        file = os.open(entry.path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def probe(job: dict[str, Any]) -> dict[str, Any]:
    trainer = importlib.import_module("train.pretrain_unified_navit")
    if not torch.cuda.is_available():
        on_cpu(sys.modules["train.fsdp_utils"], trainer)
    if job.get("cold") and int(os.environ["LOCAL_RANK"]) == 0:
        forget(job["cold"])
    watch = Watch()
    watch.start()
    local, found = start(trainer, watch, {})
    found |= {"model": held(local["fsdp_model"]), "EMA": held(local["ema_model"]), "step": local["train_step"]}
    state = local["optimizer"].state_dict()["state"]
    moments = [value for one in state.values() for value in one.values() if isinstance(value, torch.Tensor)]
    found["moments"] = hashlib.sha256("".join(map(digest, moments)).encode()).hexdigest()
    update(local, job.get("steps", 0))
    if job.get("out"):
        found["save"] = save(local, job, watch)
    return found


def main() -> None:
    canvas, told_file = sys.argv[1:3]
    flags = sys.argv[sys.argv.index("--") + 1 :]
    sys.argv = [
        "pretrain_unified_navit.py",
        *flags,
        "--dataset_config_file",
        told_file,
    ]  # any YAML: it is not looked at
    sys.path.insert(0, canvas)
    with open(told_file, encoding="utf-8") as file:
        job = json.load(file)
    out, sys.stdout = sys.stdout, sys.stderr  # the trainer prints its model
    try:
        found = probe(job)
    except Exception as error:
        if not dist.is_initialized() or dist.get_rank() == 0:
            out.write(json.dumps({"error": type(error).__name__, "message": str(error)}) + "\n")
        raise
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, found)
    if dist.get_rank() == 0:
        out.write(json.dumps({"ranks": everyone}) + "\n")
        out.flush()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
