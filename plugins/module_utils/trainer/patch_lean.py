"""Lean starts and lean saves of the deployed trainer, written for canvas-fleet from what the trainer does.

Upstream builds the model in fp32 on every rank, draws random weights, copies it for the EMA and reads the file into
both: 10 B per parameter and rank of host memory, minutes per start. A save gathers the whole model in rank 0's memory.

- The model is built on the meta device. FSDP asks for the weights of one unit at a time, and they go from the file to
  the GPU in pieces; what comes out is what upstream has, to the last bit. Ranks need not talk to each other for it.
- Streamed layers (frozen or lora with --cpu_offload) are read by several threads, each straight into memory that is
  pinned where it lies.
- A save gathers one unit at a time in bf16; rank 0 writes it to its place in the file that save_file would write, byte
  for byte, under a name of its own until it is whole.
- The optimizer's state of a resume is mapped, not read, so that it goes to the GPU without a copy in host memory.
- Copies of one shard each average their gradients over all ranks. Upstream's mesh makes each train a model of its own.
- Upstream's own way stays for what is not such a start: without a file, with --vit_rope, or where tokens are added.
"""

from __future__ import annotations

from dataclasses import replace

from . import patch_lora
from .patch import Edit, Patch
from .patch_digests import versions
from .patch_frozen import STREAM, WRAP
from .patch_lean_text import HELPERS
from .patch_streamed_text import HELPERS as STREAMED_HELPERS

_IMPORTS = """\
import contextlib  # canvas-fleet
import json  # canvas-fleet
import math  # canvas-fleet
import struct  # canvas-fleet
import weakref  # canvas-fleet
from safetensors import safe_open  # canvas-fleet
from torch.distributed.fsdp._common_utils import clean_tensor_name  # canvas-fleet
"""

_SAFETENSORS = "from safetensors.torch import load_file, save_file\n"
_IGNORED = "        ignored_modules=ignored_modules,\n"
_MESH = "    if fsdp_config.sharding_strategy == 'HYBRID_SHARD':\n"
_STRATEGY = "        sharding_strategy=ShardingStrategy[fsdp_config.sharding_strategy],\n"
_ALONE = """\
    # canvas-fleet: with a mesh, FSDP averages copies of one shard each over that shard's ranks, so not at all
    fleet_alone = (fsdp_config.sharding_strategy, fsdp_config.num_shard) == ('HYBRID_SHARD', 1)  # canvas-fleet
    fleet_alone = fleet_alone and fsdp_config.num_replicate > 1  # canvas-fleet
    if fsdp_config.sharding_strategy == 'HYBRID_SHARD' and not fleet_alone:  # canvas-fleet
"""
_AVERAGED = """\
        sharding_strategy=ShardingStrategy[  # canvas-fleet
            'NO_SHARD' if fleet_alone else fsdp_config.sharding_strategy  # canvas-fleet
        ],  # canvas-fleet
"""


def _loaded(which: str) -> Edit:
    line = f'{which}_state_dict = load_file({which}_state_dict_path, device="cpu")\n'
    model = "ema_model" if which == "ema" else "model"
    return Edit(line, f"{which}_state_dict = fleet_load({model}, {which}_state_dict_path)  # canvas-fleet\n")


def _saved(which: str) -> tuple[Edit, Edit]:
    model = "ema_model" if which == "ema" else "model"
    path = f'os.path.join(save_path, "{which}.safetensors")'
    return (
        Edit(
            f" {which}_state_dict = {model}.state_dict()\n",
            f" {which}_state_dict = fleet_state({model}, {path})  # canvas-fleet\n",
        ),
        Edit(
            f" save_file({which}_state_dict, {path})\n",
            f" fleet_save_file({which}_state_dict, {path})  # canvas-fleet\n",
        ),
    )


_OPTIMIZER = 'torch.load(optimizer_state_dict_path, map_location="cpu", weights_only=True'

FSDP_UTILS = Patch(
    setting="canvas_code_lean",
    path="train/fsdp_utils.py",
    name="lean",
    versions=versions("train/fsdp_utils.py", "lean"),
    edits=(
        Edit(_SAFETENSORS, _SAFETENSORS + _IMPORTS),
        Edit(WRAP, HELPERS + WRAP),
        Edit(
            _IGNORED,
            _IGNORED + "        param_init_fn=fleet_init(original_model, ignored_modules),  # canvas-fleet\n",
        ),
        Edit(_MESH, _ALONE),
        Edit(_STRATEGY, _AVERAGED),
        _loaded("model"),
        _loaded("ema"),
        *_saved("ema"),
        *_saved("model"),
        # Offloaded moments stay in host memory: a mapping would be what they live in.
        Edit(f"{_OPTIMIZER})\n", f"{_OPTIMIZER}, mmap=not fsdp_config.cpu_offload)  # canvas-fleet\n"),
    ),
)

# On top of lora's patch: what that imports is not imported again.
_REST = "".join(line for line in _IMPORTS.splitlines(keepends=True) if line not in patch_lora.IMPORTS)
BESIDE_LORA = replace(
    FSDP_UTILS,
    name="lean_lora",
    versions=versions("train/fsdp_utils.py", "lean_lora"),
    edits=(Edit(_SAFETENSORS, _SAFETENSORS + _REST), *FSDP_UTILS.edits[1:]),
)

_TQDM = "from tqdm import tqdm\n"

# With frozen or lora alone: the layers that FleetStream keeps in host memory.
STREAMED = Patch(
    setting="canvas_code_lean",
    path="train/fsdp_utils.py",
    name="streamed",
    versions=versions("train/fsdp_utils.py", "streamed"),
    edits=(
        Edit(
            _TQDM,
            f"{_TQDM}import mmap  # canvas-fleet\nfrom concurrent.futures import ThreadPoolExecutor  # canvas-fleet\n",
        ),
        Edit(WRAP, STREAMED_HELPERS + WRAP),
        Edit(STREAM, "        fleet_streamed(original_model, ignored_modules)  # canvas-fleet\n"),
    ),
)

_SETUP = "    # Setup model:\n"
_BUILDER = "fleet_builder(resume_from, model_args, training_args)"
_TOKENIZER = "    # Setup tokenizer for model:\n"
_CONVERT = "model.vit_model.vision_model.embeddings.convert_conv2d_to_linear"

TRAINER = Patch(
    setting="canvas_code_lean",
    path="train/pretrain_unified_navit.py",
    name="lean",
    versions=versions("train/pretrain_unified_navit.py", "lean"),
    edits=(
        Edit(
            "    fsdp_ema_setup, fsdp_ema_update,\n",
            "    fsdp_ema_setup, fsdp_ema_update, fleet_builder,  # canvas-fleet\n",
        ),
        Edit(
            _SETUP, "    fleet_build = fleet_builder(resume_from, model_args, training_args)  # canvas-fleet\n" + _SETUP
        ),
        Edit(" = Qwen2ForCausalLM(llm_config)\n", " = fleet_build(Qwen2ForCausalLM)(llm_config)  # canvas-fleet\n"),
        # On the meta device there is nothing to copy, and it takes seconds.
        Edit(
            "    if training_args.copy_init_moe:\n",
            "    if training_args.copy_init_moe and not language_model.lm_head.weight.is_meta:  # canvas-fleet\n",
        ),
        Edit(" = SiglipVisionModel(vit_config)\n", " = fleet_build(SiglipVisionModel)(vit_config)  # canvas-fleet\n"),
        Edit("    model = Bagel(\n", "    model = fleet_build(Bagel)(  # canvas-fleet\n"),
        Edit(f"{_CONVERT}(vit_config)\n", f"fleet_build({_CONVERT})(vit_config)  # canvas-fleet\n"),
        Edit(
            _TOKENIZER,
            "    set_seed(seed)  # canvas-fleet: a model on the meta device has drawn no random weights\n" + _TOKENIZER,
        ),
    ),
)
