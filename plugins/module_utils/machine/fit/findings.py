"""Findings about a host before any change, from its facts and the needs of the run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...core.progress import amount
from ...core.settings import Settings
from ...core.topology import Topology
from ...findings.finding import Finding, finding
from ...trainer.flags import truth
from ...trainer.model import Read, model_of
from ..facts import Facts
from ..gpu import Gpu
from .assess import Fit, assess
from .disks import AT_LEAST, Disk, Saves, disks, fewer_saves, run_parts, times
from .host_memory import host_floor
from .judge import Node, Verdict, judge_host
from .memory import BF16, Lora, Run, gpu_phases
from .nearest import Change

TEXT_SHARE = 0.15  # of a sample's tokens, where the data was not looked at yet


def human(size: float) -> str:
    """Bytes as a person reads them: 29.2 GB (powers of 1000, as disks and hubs count)."""
    return amount(size, "B")


@dataclass(frozen=True)
class Machine:
    """Facts of a host, and observations of the roles, for the arithmetic."""

    facts: Facts
    gpus: tuple[Gpu, ...] = ()
    model: Read | None = None
    weights_bytes: int = 0  # of the model, that need not be fetched any more
    download_rate: float = 0  # B/s of the last download; 0: not known
    sample_tokens: int = 0  # of the longest sample; 0: not known
    text_share: float = TEXT_SHARE


def run_of(machine: Machine, settings: Settings, topology: Topology) -> Run:
    """The run for the memory arithmetic, with the observed model and longest sample."""
    extra, profile = settings["run_config_extra_flags"], settings["training_profile"]
    frozen = profile in ("frozen", "lora")
    # the patch leaves upstream's own start where the weights do not all come out of one model folder
    ours = settings["run_config_finetune_from_hf"] and not truth(extra.get("vit_rope", False))
    return Run(
        model=model_of(settings["weights_parameters"], machine.model),
        ranks=topology.nproc_per_node,
        nodes=topology.nnodes,
        shards=settings["run_config_num_shard"] or topology.num_shard,
        expected_tokens=settings["run_config_expected_num_tokens"],
        most_tokens=settings["run_config_max_num_tokens"],
        sample_tokens=machine.sample_tokens or settings["run_config_max_num_tokens_per_sample"],
        text_share=machine.text_share,
        freeze_llm=frozen or truth(extra.get("freeze_llm", False)),
        freeze_vit=frozen or truth(extra.get("freeze_vit", False)),
        patched=frozen,
        lora=profile == "lora",
        adapters=Lora(
            settings["training_lora_rank"], settings["training_lora_targets"], settings["training_lora_connectors"]
        ),
        optimizer=settings["run_config_optimizer"],
        lean=ours and settings["canvas_code_lean"],
        ema_copy=settings["run_config_ema"] != 0 and profile != "lora",
        offload=settings["run_config_cpu_offload"],
        flex=settings["run_config_use_flex"],
        gpu=settings["nvidia_gpu_expected"],
    )


def node_of(machine: Machine, settings: Settings) -> Node:
    gpus = machine.gpus if settings["nvidia_gpu_expected"] else ()
    return Node(
        gpus=len(gpus),
        gpu_bytes=float(min((gpu.memory_bytes for gpu in gpus), default=0)),
        memory=float(machine.facts.memory_bytes),
        gpu_name=gpus[0].name if gpus else "GPU",
    )


def fit_of(machine: Machine, settings: Settings, topology: Topology) -> Fit:
    """How the run fits this host, item by item; pure."""
    run, node = run_of(machine, settings, topology), node_of(machine, settings)
    missing = max(0.0, float(settings["weights_bytes"]) - machine.weights_bytes)
    saves = sum(run_parts(run, saves_of(settings, topology)).values())
    merges = run.lora and settings["training_lora_merge"] == "at_end" and topology.node_rank == 0
    merged = float(BF16 * run.model.parameters) if merges else 0.0
    wants = {
        "weights_dir": ("weights", missing),
        "training_checkpoint_dir": ("checkpoints", max(0.0, saves - machine.facts.checkpoints_bytes)),
        "training_results_dir": ("merged model", max(0.0, merged - machine.facts.models_bytes)),
    }
    rates = {
        "download": float(settings.get("fleet_download_rate") or 0) * 1e6 or machine.download_rate,
        "disk": float(settings.get("fleet_disk_rate") or 0) * 1e6,
    }
    return replace(
        assess(run, node),
        disks=disks(machine.facts.disks, wants),
        seconds=times(missing, run, topology.node_rank, rates),
    )


def check(facts: Facts, fit: Fit, settings: Settings, topology: Topology) -> list[Finding]:
    """Findings about the machine itself; pure. `fit`: what fit_of() made."""
    return [
        *_system(facts),
        *_gpus(fit),
        *_memory(fit),
        *_disks(fit, saves_of(settings, topology)),
    ]


def _system(facts: Facts) -> list[Finding]:
    if facts.init.name == "systemd":
        return []
    return [finding("NO_SYSTEMD", found=f"PID 1 is {facts.init.name}", expected="systemd")]


def _gpus(fit: Fit) -> list[Finding]:
    """Nothing without a GPU: the role nvidia judges that and may install the driver."""
    if not fit.gpu:
        return []
    found = []
    if fit.node.gpus < fit.run.ranks:
        found.append(
            finding(
                "GPU_COUNT_SHORT",
                variable="run_config_processes",
                found=f"{fit.node.gpus} × {fit.node.gpu_name}",
                expected=f"{fit.run.ranks}, one for each process",
            )
        )
    if fit.gpu.state != "fits":
        found.append(
            finding(
                "GPU_MEMORY_SHORT" if fit.gpu.state == "short" else "GPU_MEMORY_TIGHT",
                found=f"{human(fit.gpu.have)} per GPU ({fit.node.gpu_name}), too little in {_phase(fit.gpu)}",
                expected=f"{human(fit.gpu.need)} per GPU at {_shards(fit.run)} ({_phases(fit.run)})",
                remedy=remedy(fit),
            )
        )
    return found


def _shards(run: Run) -> str:
    return "1 shard" if run.split == 1 else f"{run.split} shards"


def _phases(run: Run) -> str:
    """`load 43.8 GB, …, optimizer.step 87.6 GB, …` in the order in which a run meets them."""
    return ", ".join(f"{name} {human(sum(items.values()))}" for name, items in gpu_phases(run).items())


def _phase(verdict: Verdict) -> str:
    """`optimizer.step (87.6 GB: Adam's moments 29.2 GB, …)`, the three largest items."""
    largest = sorted(verdict.items.items(), key=lambda item: -item[1])[:3]
    parts = ", ".join(f"{name} {human(size)}" for name, size in largest)
    return f"{verdict.phase} ({human(sum(verdict.items.values()))}: {parts}, …)"


def _memory(fit: Fit) -> list[Finding]:
    host = fit.host
    if host.state == "fits":
        return []
    what = "while " + ("1 rank loads" if fit.run.ranks == 1 else f"{fit.run.ranks} ranks load")
    what = what if host.phase == "load" else "while a checkpoint is saved"
    streamed = host.items.get("pinned layers", 0.0)
    layers = f" ({human(streamed)} for the streamed layers of {fit.run.ranks} ranks)" if streamed else ""
    return [
        finding(
            "HOST_MEMORY_SHORT" if host.state == "short" else "HOST_MEMORY_TIGHT",
            found=human(host.have),
            expected=f"{human(host.need)} {what}, {human(host.floor)} at the very least{layers}",
            remedy=remedy(fit),
        )
    ]


def remedy(fit: Fit) -> str:
    """The nearest that fits, in words; "" leaves the catalogue's own."""
    parts = []
    if fit.setting:
        more = judge_host(fit.setting.run, fit.node)
        parts.append(
            words(fit.setting) + (f", on a host with {human(more.need)} of memory" if more.state == "short" else "")
        )
    if fit.hardware:
        parts.append(
            f"{fit.hardware.gpus} × {fit.node.gpu_name} in one run"
            f" ({human(host_floor(fit.hardware.run))} of host memory in all)"
        )
    if fit.host.state != "fits" and (not fit.gpu or fit.gpu.state == "fits"):
        parts.append(f"a host with {human(fit.host.need)} of memory")
    return "; or ".join(parts)


def words(change: Change) -> str:
    return ", ".join(f"{name}: {yaml(value)}" for name, value in change.settings.items())


def yaml(value: Any) -> str:
    """A setting's value as in the inventory."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def saves_of(settings: Settings, topology: Topology) -> Saves:
    keep_last = settings.get("training_keep_last")
    return Saves(
        total_steps=int(settings["run_config_total_steps"]),
        save_every=int(settings["run_config_save_every"]),
        thinned=bool(settings["run_config_del_previous_state"]),
        node=topology.node_rank,
        keep_last=None if keep_last is None else int(keep_last),
        keep_every=int(settings.get("training_keep_every") or 0),
        fetches=bool(
            topology.node_rank
            and settings.get("training_peer_port")
            and not settings.get("training_shared_checkpoints")
        ),
    )


def _disks(fit: Fit, saves: Saves) -> list[Finding]:
    """Free space against what is still to be written, summed where folders share a disk."""
    return [
        finding(
            "DISK_SHORT",
            variable=", ".join(disk.variables),
            found=f"{human(disk.have)} free at {disk.at}",
            expected=f"{human(disk.need)} ("
            + " + ".join(f"{what} {human(size)}" for what, size in disk.parts.items())
            + ")",
            remedy=_less(fit.run, saves, disk),
        )
        for disk in fit.disks
        if disk.short
    ]


def _less(run: Run, saves: Saves, disk: Disk) -> str:
    """The remedy when checkpoints do not fit; "" keeps the catalogue's."""
    if "checkpoints" not in disk.parts:
        return ""
    now = sum(run_parts(run, saves).values())
    within = now - (disk.need - disk.have)
    offers = []
    rotated = replace(saves, keep_last=AT_LEAST)
    if not saves.keep_last and saves.folders > rotated.folders and sum(run_parts(run, rotated).values()) <= within:
        offers.append(f"training_keep_last: {AT_LEAST} (older checkpoints are removed)")
    fewer = fewer_saves(run, saves, within)
    if fewer:
        offers.append(f"run_config_save_every: {fewer.save_every}")
    return "; or ".join([*offers, f"{human(disk.need - disk.have)} more on the disk of {' and '.join(disk.variables)}"])
