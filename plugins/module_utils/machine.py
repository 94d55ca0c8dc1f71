"""What a machine must have before anything is changed on it: findings from facts and from what the run needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.findings import Finding, finding
from ansible_collections.canvas.fleet.plugins.module_utils.room import RunShape

# Bytes per parameter, measured (contract.md, "Size of the thing").
OPTIMIZER_STEP = 24.0  # fp32 shard 4, gradient 4, Adam 8, EMA 4, AdamW's temporaries 4; divided by num_shard
OPTIMIZER_STEP_OFFLOADED = 14.9  # one GPU with --cpu_offload True
LOADING_PER_RANK = 10.0  # host memory: fp32 model 4, its EMA copy 4, the bf16 file 2
SAVED_MODEL = 4.0  # model and ema, bf16 each
SAVED_OPTIMIZER = 8.0  # Adam's two moments in fp32


def human(size: float) -> str:
    """Bytes as a person reads them: 29.2 GB (powers of 1000, as disks and hubs count)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def checkpoint_bytes(settings: Mapping[str, Any]) -> float:
    """Disk that the checkpoints of a whole run take at their peak.

    Every save keeps model and EMA. Without del_previous_state each keeps its optimizer too; with it the newest does,
    and the one before is only thinned after the new one was written, so two at the peak.
    """
    parameters = float(settings["weights_parameters"])
    saves = max(0, int(settings["run_config_total_steps"]) // max(1, int(settings["run_config_save_every"])))
    states = min(saves, 2) if settings["run_config_del_previous_state"] else saves
    return parameters * (SAVED_MODEL * saves + SAVED_OPTIMIZER * states)


def check(
    facts: Mapping[str, Any], rooms: Mapping[str, Any], settings: Mapping[str, Any], shape: RunShape
) -> list[Finding]:
    """Findings about the machine itself; pure."""
    return [
        *_system(facts),
        *_gpus(rooms.get("nvidia", {}), settings, shape),
        *_memory(facts, settings, shape),
        *_disks(facts, rooms, settings, shape),
    ]


def _system(facts: Mapping[str, Any]) -> list[Finding]:
    found = []
    if facts["init"]["name"] != "systemd":
        found.append(finding("NO_SYSTEMD", found=f"PID 1 is {facts['init']['name']}", expected="systemd"))
    if tuple(int(part) for part in facts["python"].split(".")[:2]) < (3, 9):
        found.append(finding("PYTHON_OLD", found=f"Python {facts['python']}", expected="3.9 or newer"))
    return found


def _gpus(nvidia: Mapping[str, Any], settings: Mapping[str, Any], shape: RunShape) -> list[Finding]:
    if not settings["nvidia_gpu_expected"]:
        return []
    gpus = nvidia.get("gpus", [])
    if not gpus:
        return []  # the nvidia room judges: it may be its own work to bring the driver
    found = []
    if len(gpus) < shape.nproc_per_node:
        found.append(
            finding(
                "GPU_COUNT_SHORT",
                variable="run_config_processes",
                found=f"{len(gpus)} × {gpus[0]['name']}",
                expected=f"{shape.nproc_per_node}, one for each process",
            )
        )
    smallest = min(gpu["memory_bytes"] for gpu in gpus)
    offload = settings["run_config_cpu_offload"]
    need = float(settings["weights_parameters"]) * (
        OPTIMIZER_STEP_OFFLOADED if offload else OPTIMIZER_STEP / shape.num_shard
    )
    if smallest < need:
        found.append(
            finding(
                "GPU_MEMORY_SHORT",
                found=f"{human(smallest)} per GPU ({gpus[0]['name']})",
                expected=f"at least {human(need)} per GPU at {shape.num_shard} shards, before activations",
            )
        )
    return found


def _memory(facts: Mapping[str, Any], settings: Mapping[str, Any], shape: RunShape) -> list[Finding]:
    need = LOADING_PER_RANK * float(settings["weights_parameters"]) * shape.nproc_per_node
    if facts["memory_bytes"] >= need:
        return []
    return [
        finding(
            "HOST_MEMORY_SHORT",
            found=human(facts["memory_bytes"]),
            expected=f"{human(need)} while {shape.nproc_per_node} ranks load",
        )
    ]


def _disks(
    facts: Mapping[str, Any], rooms: Mapping[str, Any], settings: Mapping[str, Any], shape: RunShape
) -> list[Finding]:
    """Free space against what is still to be written, summed where folders share a disk."""
    missing = max(0.0, float(settings["weights_bytes"]) - float(rooms.get("weights", {}).get("bytes", 0)))
    # Only the first node keeps checkpoints: rank 0 writes the model, the ranks of its node the optimizer.
    saves = checkpoint_bytes(settings) if shape.node_rank == 0 else 0.0
    wants = {
        "weights_dir": ("weights", missing),
        "training_results_dir": ("checkpoints", max(0.0, saves - float(facts["results_bytes"]))),
    }
    by_device: dict[int, list[tuple[str, str, float]]] = {}
    for name, (what, need) in wants.items():
        if need > 0 and name in facts["disks"]:
            by_device.setdefault(facts["disks"][name]["device"], []).append((name, what, need))
    found = []
    for needs in by_device.values():
        disk = facts["disks"][needs[0][0]]
        total = sum(need for _, _, need in needs)
        if disk["free"] < total:
            parts = " + ".join(f"{what} {human(need)}" for _, what, need in needs)
            found.append(
                finding(
                    "DISK_SHORT",
                    variable=", ".join(name for name, _, _ in needs),
                    found=f"{human(disk['free'])} free at {disk['at']}",
                    expected=f"{human(total)} ({parts})",
                )
            )
    return found
