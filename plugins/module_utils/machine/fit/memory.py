"""Memory of one training on each GPU and host, item by item, in bytes. Pure.

Measured (contract, "Size of the thing"): 20 B per parameter at rest, 24 in optimizer.step, 26.65 at most on one GPU,
where FSDP switches to NO_SHARD and a save clones the model on the GPU; 14.9 with --cpu_offload on one GPU; 10 per rank
of host memory while loading, 30 with --cpu_offload at a save. LoRA was measured on one and two H200s (docs/fit.md).
Other numbers are in CONSTANTS, with reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...trainer.model import Model

# CONSTANTS
FP32, BF16, MOMENTS = 4, 2, 8  # bytes of a master weight, of its copy for computing, of Adam's two moments
MOMENTS_8BIT = 2 + 2 * FP32 / 256  # bitsandbytes: a byte for each moment, and a scale in fp32 for each block of 256
OFFLOADED = 14.9  # B per trained parameter on the GPU with --cpu_offload on one GPU, measured
CONTEXT = 1.5e9  # CUDA context, NCCL and cuBLAS: in no allocator's books
# B per token (of one layer: per width and per inner width) or per logit, from an H100 with layers of BAGEL's width
# (tests: SCALED): in the forward, in the backward of a trained layer, and in that of a frozen one.
LOGIT_FORWARD, LOGIT_BACKWARD = 8, 10
FORWARD, TRAINED, STILL = (0, 5.5), (48, 12), (22, 10)
SAVED = 2  # B per token, layer and width: the bf16 input of a checkpointed layer
MASK = 6  # B per pair of tokens of one sample without flex attention: fp32 mask and its bf16 copy
# B per pixel of all pictures of a batch, which the VAE encodes at once: 2048 by following the allocations of upstream's
# encoder under autocast, tensor by tensor (two outputs of 128 channels in bf16, and norm, sigmoid and product in fp32),
# and the pictures in fp32. A token of the VAE is a square of 16 pixels; an image of the solution has 2 × 1,024 of them.
PIXEL, TOKEN_PIXELS, VAE_SHARE = 2048 + 12, 256, 0.6
VIT_SHARE = 0.45  # of a batch's tokens go through the ViT: 1,369 patches of about 3,420 tokens of an image

Items = Mapping[str, float]


@dataclass(frozen=True)
class Lora:
    """Adapters of training_profile: lora, in fp32 and whole on each rank."""

    rank: int = 32
    targets: str = "all"
    connectors: bool = True  # trained, too, and then whole on each rank as well


@dataclass(frozen=True)
class Run:
    """The numbers that decide about memory."""

    model: Model
    ranks: int  # on one host
    nodes: int = 1
    shards: int = 0  # 0: one per rank of a host
    expected_tokens: int = 8192  # run_config_expected_num_tokens: a batch is given out once it has so many
    most_tokens: int = 32_768  # run_config_max_num_tokens
    sample_tokens: int = 16_384  # of the longest sample
    text_share: float = 0.15  # of the tokens, at most so many are words whose next one is predicted
    freeze_llm: bool = False
    freeze_vit: bool = False
    patched: bool = False  # training_profile: frozen and lora (patch_table.py): frozen weights and EMA copy are bf16
    lora: bool = False
    adapters: Lora = Lora()  # with `lora`
    optimizer: str = "adamw"
    lean: bool = True  # canvas_code_lean (patch_lean.py): weights go unit by unit from the file to the GPU, and back
    ema_copy: bool = True
    offload: bool = False
    flex: bool = True
    gpu: bool = True

    @property
    def split(self) -> int:
        return self.shards or self.ranks

    @property
    def batch_tokens(self) -> int:
        """Tokens of the longest batch. The packer takes one more sample before it checks the expected number: one token
        less than that or the longest sample, and then the longest sample (PackedDataset; seen).
        """
        return max(1, min(self.most_tokens, max(self.expected_tokens - 1, self.sample_tokens) + self.sample_tokens))

    def frozen(self, *, ema_copy: bool) -> Run:
        """The same in training_profile: frozen."""
        return replace(self, freeze_llm=True, freeze_vit=True, patched=True, ema_copy=ema_copy, lora=False)

    def adapted(self) -> Run:
        """The same in training_profile: lora, which has no EMA copy."""
        return replace(self.frozen(ema_copy=False), lora=True)

    def full(self) -> Run:
        """The same in training_profile: full, with an EMA copy."""
        return replace(self, freeze_llm=False, freeze_vit=False, patched=False, lora=False, ema_copy=True)

    def expecting(self, tokens: int) -> Run:
        return replace(self, expected_tokens=tokens)

    @property
    def trained(self) -> int:
        """Parameters with gradient and optimizer state."""
        return self.sharded + self.replicated

    @property
    def sharded(self) -> int:
        """Trained parameters that FSDP cuts in shards."""
        return 0 if self.lora else self.model.trained(freeze_llm=self.freeze_llm, freeze_vit=self.freeze_vit)

    @property
    def replicated(self) -> int:
        """Trained parameters that lie whole on each rank."""
        if not self.lora:
            return 0
        connectors = self.model.connectors if self.adapters.connectors else 0
        return self.model.adapted(self.adapters.rank, self.adapters.targets) + connectors

    @property
    def each(self) -> float:
        """Trained parameters of which a rank holds gradient and moments."""
        return self.sharded / self.split + self.replicated

    @property
    def moments(self) -> float:
        """Bytes of the optimizer's state for each trained parameter."""
        return MOMENTS_8BIT if self.optimizer == "adamw_8bit" else MOMENTS

    @property
    def temporaries(self) -> int:
        """Bytes that optimizer.step takes besides, for each: torch's default computes all tensors at once."""
        return FP32 if self.optimizer == "adamw" else 0

    @property
    def weights(self) -> float:
        """Bytes of all weights that FSDP holds: fp32, frozen ones bf16 where the code is patched for it."""
        frozen = self.model.parameters - self.sharded
        return float(FP32 * self.sharded + (BF16 if self.patched else FP32) * frozen)

    @property
    def ema(self) -> float:
        """Bytes of the EMA copy."""
        return float(self.model.parameters * (BF16 if self.patched else FP32)) if self.ema_copy else 0.0

    @property
    def streamed(self) -> bool:
        """Frozen layers stay in pinned host memory, and each forward fetches its own; `frozen` on one GPU alone."""
        return self.offload and self.patched and (self.lora or self.ranks * self.nodes == 1)


def gpu_phases(run: Run) -> dict[str, Items]:
    """Bytes on each GPU in each phase, in the order in which a run meets them.

    The first step has no optimizer state yet; so what is too small for the optimizer dies in its first (Bagel#215).
    """
    fixed = {"CUDA context and NCCL": CONTEXT, "VAE": float(FP32 * run.model.vae)}
    if run.offload and not run.streamed:
        return _offloaded_phases(run, fixed)
    weights = _weights(run)
    gradients = {"gradients": FP32 * run.each}
    moments = {"Adam's moments": run.moments * run.each}
    rest = {**weights, **gradients, **moments, **fixed}
    return {
        "load": {**weights, "CUDA context and NCCL": CONTEXT, **_wrapped(run)},
        "first step": _step(run, {**weights, **fixed}, {}, gradients),
        "optimizer.step": {**rest, "AdamW's temporaries": run.temporaries * run.each},
        "pictures": {**rest, **_pictures(run)},
        "training": _step(run, {**weights, **moments, **fixed}, gradients, gradients),
        "save": {**rest, **_state_dict(run)},
    }


def _weights(run: Run) -> Items:
    adapters = {"adapters": float(FP32 * run.replicated)} if run.lora else {}
    if run.streamed:
        root = (run.model.embeddings + run.model.positions) / run.split
        connectors = FP32 * run.model.connectors / run.split
        held = {"parameters": float(BF16 * (root + 2 * run.model.layer) + connectors), **adapters}
        return {**held, "EMA copy": float(BF16 * root)} if run.ema_copy else held
    held = {"parameters": run.weights / run.split, **adapters}
    if run.ema_copy:
        held["EMA copy"] = run.ema / run.split
    return held


def _wrapped(run: Run) -> Items:
    """FSDP wraps the root unit, embedding and output layer, last: whole, and once more as one flat parameter, before
    that is cut in shards (exact in eight runs of the real width on H100s and H200s, docs/gpu-proof.md).
    """
    size = float((BF16 if run.patched else FP32) * run.model.embeddings)
    if run.split > 1:
        return {"root unit, twice": 2 * size}
    return {"root unit, once more": size} if run.lean and not run.streamed else {}


def _step(run: Run, held: Items, old: Items, new: Items) -> Items:
    """The fullest of three moments of a step: its forward, with the gradients of the step before, which zero_grad frees
    only then; the start of the backward, with none; its end, with all of the new ones and one layer at work.
    """
    root, layers = gathered(run)
    ahead = activations(run)
    inputs = {"inputs of layers": ahead["inputs of layers"]}
    last = {name: size for name, size in ahead.items() if name in ("one layer", "attention masks")}
    forward = {**held, **old, **root, **layers, **inputs, **activations(run, backward=False)}
    return max(
        (forward, {**held, **root, **layers, **ahead}, {**held, **new, **layers, **last}),
        key=lambda items: sum(items.values()),
    )


def _pictures(run: Run) -> Items:
    """The VAE's encoding of a batch's pictures, before the forward: all padded to the largest, here of one size."""
    return {"pictures in the VAE": float(PIXEL * TOKEN_PIXELS * VAE_SHARE * run.batch_tokens)}


def _state_dict(run: Run) -> Items:
    """Bytes that a save adds on the GPU, for the larger of the two models, which are saved one after the other.

    Lean, the largest unit counts, the root: in bf16, whole, beside the shard that it is gathered from (measured on one
    and two H200s). Upstream's NO_SHARD state dict is a clone on the GPU, and so is its bf16 copy. A sharded one is
    gathered and moved to the host unit by unit: the root again. Measured with torch 2.11 on two and four H100s; the
    save code of torch 2.7.1 does the same (docs/gpu-proof.md).
    """
    if run.lora:
        return {}  # the adapters go to the host one by one
    if run.lean:
        shard = BF16 * run.model.embeddings / run.split
        whole = BF16 * run.model.embeddings if run.split > 1 else 0
        return {"root unit in bf16": float(whole + (0 if run.patched else shard))}
    if run.streamed:
        return {"state dict": float(BF16 * (run.model.embeddings + run.model.positions))}
    if run.split > 1:
        return {"root unit, whole": float((BF16 if run.patched else FP32) * run.model.embeddings)}
    found = {"state dict": max(run.weights, run.ema)}
    if not run.patched:
        found["its bf16 copy"] = float(BF16 * run.model.parameters)
    return found


def _offloaded_phases(run: Run, fixed: Items) -> dict[str, Items]:
    """On one GPU as measured. On several FSDP copies each shard's gradient to the host and drops its own only when the
    whole backward is done (`_saved_grad_shard`; measured on two H200s, docs/gpu-proof.md)."""
    pictures = {**fixed, **_pictures(run)}
    if run.split > 1:
        training = _step(run, fixed, {}, {"gradients": FP32 * run.each})
        return {"pictures": pictures, "training": training, "save": {**fixed, **_state_dict(run)}}
    moved = {"parameters and gradients on their way": OFFLOADED * run.trained}
    training = {**fixed, **moved, **activations(run)}
    return {"pictures": pictures, "training": training, "save": {**fixed, **_state_dict(run)}}


def gathered(run: Run) -> tuple[Items, Items]:
    """bf16 copies that FSDP holds whole while it computes: the root unit, nearly all of a step; and layers with their
    gradients: the one at work and, where there are shards to gather, the next one. NO_SHARD has none of frozen bf16.
    """
    model = run.model
    if run.patched and run.split == 1:
        return {"bf16 copies": float(BF16 * model.connectors)}, {}
    root, layer = model.embeddings + model.connectors, model.layer
    if run.streamed:
        return {"root unit in bf16": float(BF16 * root)}, {}
    if run.split == 1:
        return {"root unit in bf16": float(BF16 * root)}, {"layers in bf16": float(BF16 * layer)}
    grown = 0 if run.freeze_llm else layer
    return {"root unit in bf16": float(BF16 * root)}, {"layers in bf16": float(BF16 * (2 * layer + grown))}


def activations(run: Run, *, backward: bool = True) -> Items:
    """Activations of one batch with activation checkpointing: inputs of all layers, and one layer or the logits."""
    model, tokens = run.model, run.batch_tokens
    per_width, per_inner = FORWARD if not backward else STILL if run.freeze_llm else TRAINED
    layer = per_width * model.hidden + per_inner * model.intermediate
    logits = (LOGIT_BACKWARD if backward else LOGIT_FORWARD) * model.vocabulary * run.text_share
    saved = SAVED * (model.layers * model.hidden + VIT_SHARE * model.vit_layers * model.vit_hidden)
    found = {
        "inputs of layers": tokens * saved,
        "logits" if logits > layer else "one layer": tokens * max(layer, logits),
    }
    if not run.flex:
        found["attention masks"] = float(MASK * tokens * min(run.sample_tokens, tokens))
    return found


def gpu_need(run: Run) -> float:
    """Bytes that each GPU must have."""
    return max(sum(items.values()) for items in gpu_phases(run).values())
