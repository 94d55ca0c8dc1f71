"""Host memory of one training, item by item, in bytes. Pure.

Lean (canvas_code_lean), measured on one and two H200s with BAGEL's size: 1.7 GB a rank at most, at a start, a resume
and a save of both models. As upstream does it: 10 B per parameter and rank at a start, 30 with --cpu_offload at a save.
"""

from __future__ import annotations

from .memory import BF16, FP32, Items, Run

# Per rank: interpreter, CUDA's and NCCL's host side, loader workers. As upstream starts, also pages of the weights file
# on their way: the reports fix the sum between 8.2 GB (8 ranks die in 1 TB: Bagel#180, #172, #215) and 11 GB (2 ranks
# load in 256 GB: #180).
PROCESS, PROCESS_WITHOUT_GPU, WINDOW = 4e9, 0.5e9, 5e9
DROPPED = ("weights file, mapped", "weights file in the page cache", "saved file in the page cache")


def host_phases(run: Run) -> dict[str, Items]:
    """Bytes of one host's memory while it loads and while it saves."""
    return _lean(run) if run.lean else _as_upstream(run)


def _lean(run: Run) -> dict[str, Items]:
    """A file that is read or written passes through the page cache, one for all ranks, and the kernel can drop it."""
    held = {"processes": _process(run) * run.ranks, **_offloaded(run)}
    file = float(BF16 * run.model.parameters)
    saved = (FP32 + run.moments) * run.replicated if run.lora else file
    return {
        "load": {**held, "weights file in the page cache": file},
        "save": {**held, **_on_its_way(run), "saved file in the page cache": saved},
    }


def _on_its_way(run: Run) -> Items:
    """torch.save brings one tensor at a time here: the moments of the root unit are the largest. The trained parameters
    of `lora` come together, for the one file."""
    if run.lora:
        return {"adapters on their way": float(FP32 * run.replicated)}
    if run.offload:
        return {}
    moment = FP32 * (run.model.connectors if run.patched else run.model.embeddings) / run.split
    return {"largest of Adam's moments": moment * min(run.ranks, run.split)}


def _as_upstream(run: Run) -> dict[str, Items]:
    """The weights file is mapped: its pages count for each rank, are shared by all, and the kernel can drop them."""
    everything, ranks = run.model.parameters, run.ranks
    processes = (_process(run) + min(WINDOW, BF16 * everything)) * ranks
    load = {"model in fp32": float(FP32 * everything * ranks)}
    if run.ema_copy:
        load["EMA copy"] = float(FP32 * everything * ranks)
    load["weights file, mapped"] = float(BF16 * everything * ranks)
    load["processes"] = processes
    save = {"bytes to be written": float(BF16 * everything), "processes": processes, **_offloaded(run)}
    if run.lora:
        return {"load": load, "save": {"processes": processes, **_offloaded(run), **_on_its_way(run)}}
    if run.split > 1 and not run.offload:
        # A unit is gathered on the GPU and moved here. FSDP leaves the module's tensors pointing at that copy until the
        # next forward: for the model beside its state dict, for the EMA copy, which has no forward, until the end. The
        # first rank of each replica does it: 14 B per parameter in `full`, 4 in `frozen` (docs/gpu-proof.md).
        replicas = max(1, ranks // run.split)
        save["state dict"] = run.weights * replicas
        save["tensors left here by FSDP"] = (run.weights + run.ema) * replicas
        if not run.patched:
            save["its bf16 copy"] = float(BF16 * everything)
    elif run.offload and not run.streamed:
        save["state dict"] = run.weights  # NO_SHARD without offload clones on the GPU
    return {"load": load, "save": save}


def _process(run: Run) -> float:
    return PROCESS if run.gpu else PROCESS_WITHOUT_GPU


def _offloaded(run: Run) -> Items:
    """Bytes that --cpu_offload keeps in host memory."""
    if not run.offload:
        return {}
    if run.streamed:
        found = {"pinned layers": pinned_bytes(run) * run.ranks}
        return {**found, "EMA copy": run.ema * run.ranks} if run.ema_copy else found
    share = run.ranks / run.split
    grown = share * _growth(run)
    found = {"parameters": run.weights * grown}
    if run.split > 1:  # the first step pins a copy; the loaders' workers were forked before and keep the pages
        found["what the loaders keep of them"] = run.weights * share
    if run.ema_copy:
        found["EMA copy"] = run.ema * share
    # FSDP pins a gradient buffer for each flat parameter, for those of the EMA copy too.
    found["gradient buffers"] = (run.weights + run.ema) * grown
    found["Adam's moments"] = run.moments * run.sharded * share
    return found


def pinned_bytes(run: Run) -> float:
    """Bytes of the streamed layers of one rank: 27.0 GB for BAGEL, read in place. Else torch pins them: 31.0 GB."""
    sizes = ((BF16 * cells, number) for cells, number in _layers(run))
    return float(sum((size if run.lean else _rounded(size)) * number for size, number in sizes))


def _layers(run: Run) -> tuple[tuple[int, int], ...]:
    """Parameters of each kind of layer, and how many there are."""
    model = run.model
    return (model.layer, model.layers), (model.vit // max(1, model.vit_layers), model.vit_layers)


def _growth(run: Run) -> float:
    """By how much the shards of FSDP's units grow where torch pins them: each layer is one, and the rest is another.
    Seen on two ranks (docs/gpu-proof.md); one rank was measured as it is without."""
    if run.split == 1:
        return 1.0
    width = BF16 if run.patched else FP32
    layers = _layers(run)
    rest = run.model.parameters - sum(cells * number for cells, number in layers)
    units = [(width * cells / run.split, number) for cells, number in (*layers, (rest, 1))]
    return sum(_rounded(size) * number for size, number in units) / sum(size * number for size, number in units)


def _rounded(size: float) -> int:
    """What torch pins for so many bytes."""
    return 1 << (max(1, int(size)) - 1).bit_length()


def host_need(run: Run) -> float:
    """Bytes with which nothing has to give way."""
    return max(sum(items.values()) for items in host_phases(run).values())


def host_floor(run: Run) -> float:
    """Bytes below which the kernel kills a rank: pages of files can be dropped, the rest cannot."""
    phases = host_phases(run).values()
    return max(sum(size for item, size in items.items() if item not in DROPPED) for items in phases)
