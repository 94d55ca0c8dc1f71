"""training_profile: lora in the deployed code, on top of frozen's patch: the base is frozen, adapters beside it train.

- The base is always that of --model_path; a checkpoint of this profile holds adapters alone. Its keys do not change.
- Adapters and trained connectors are fp32 and whole on each rank. FSDP leaves them alone, their gradients are reduced
  here, and the optimizer knows them alone: one file fits any number of ranks, shards, and streamed layers or not.
- With --cpu_offload True each rank streams the frozen layers from its pinned host memory.
- A save is adapter.safetensors, one file of the optimizer's state, scheduler.pt and data_status.pt. There is no EMA.
"""

from __future__ import annotations

from .patch import Edit, Patch, field
from .patch_digests import versions
from .patch_frozen import STREAM, WRAP
from .patch_lora_text import HELPERS

SETTING = "training_profile: lora"
FLAGS = {
    "fleet_lora_rank": ("int", "32", "Rank of each adapter."),
    "fleet_lora_alpha": ("float", "64.0", "Scale: the adapter's product is multiplied by alpha / rank."),
    "fleet_lora_dropout": ("float", "0.0", "Probability of dropping an input of an adapter."),
    "fleet_lora_targets": ("str", '"all"', "Layers with adapters: all, or attention."),
    "fleet_lora_connectors": ("bool", "True", "Train the connectors, too."),
}

IMPORTS = """\
import functools
import hashlib  # canvas-fleet
import json  # canvas-fleet
import struct  # canvas-fleet
from safetensors import safe_open  # canvas-fleet
from torch.distributed.fsdp._common_utils import clean_tensor_name  # canvas-fleet
"""
_SAVING = '        logger.info(f"Saving checkpoint to {save_path}.")\n'
_SLOTS = "        (module, name, param) for module in layer.modules()\n"

FSDP_UTILS = Patch(
    setting=SETTING,
    path="train/fsdp_utils.py",
    name="lora",
    versions=versions("train/fsdp_utils.py", "lora"),
    edits=(
        Edit("import functools\n", IMPORTS),
        Edit(WRAP, HELPERS + WRAP),
        Edit(_SLOTS, _SLOTS[:-1] + " if not isinstance(module, FleetAdapter)  # canvas-fleet\n"),
        Edit(
            "    if not fsdp_config.cpu_offload or dist.get_world_size() > 1:\n",
            "    if not fsdp_config.cpu_offload:  # canvas-fleet: every rank streams\n",
        ),
        Edit(
            "        if isinstance(module, layers) and not any(param.requires_grad for param in module.parameters())\n",
            "        if isinstance(module, layers)  # canvas-fleet: of each layer the base is frozen\n",
        ),
        Edit(STREAM, STREAM + "        ignored_modules += fleet_lora_apart(original_model)  # canvas-fleet\n"),
        Edit(
            _SAVING,
            _SAVING
            + "        fleet_lora_save(save_path, model, optimizer, scheduler, data_status, logger)  # canvas-fleet\n"
            "        if del_previous_state:\n"
            "            delete_previous_state(ckpt_dir, train_steps, logger)\n"
            "        dist.barrier()\n"
            "        return\n",
        ),
    ),
)

_IMPORT = "from train.train_utils import create_logger, get_latest_ckpt\n"
_FIELDS = "    # --- module freezing ---\n"
_WRAPPED = "    fsdp_model = fsdp_wrapper(model, fsdp_config)\n"
_BACKWARD = "        loss.backward()\n"
_SCHEDULED = "        scheduler.step()\n"
HELPERS_USED = "fleet_lora, fleet_lora_base, fleet_lora_moved, fleet_lora_one, fleet_lora_reduce, fleet_lora_start"
MOVED_AFTER = 20  # steps of a start until its log says how far the adapters have moved; a save says it, too

TRAINER = Patch(
    setting=SETTING,
    path="train/pretrain_unified_navit.py",
    name="lora",
    versions=versions("train/pretrain_unified_navit.py", "lora"),
    edits=(
        Edit(_IMPORT, f"{_IMPORT}from train.fsdp_utils import {HELPERS_USED}  # canvas-fleet\n"),
        Edit(_FIELDS, "".join(field(name, *kind) for name, kind in FLAGS.items()) + "\n" + _FIELDS),
        Edit(
            "    ema_model = deepcopy(model) if training_args.ema > 0 else None  # canvas-fleet\n",
            "    ema_model = None  # canvas-fleet: adapters have no EMA\n",
        ),
        Edit(
            "        resume_from, logger, model, ema_model, resume_from_ema=finetune_from_ema\n",
            "        fleet_lora_base(resume_from, model_args.model_path, training_args),  # canvas-fleet\n"
            "        logger, model, ema_model, resume_from_ema=True\n",
        ),
        Edit(
            _WRAPPED,
            "    fleet_lora(model, model_args.model_path, training_args)  # canvas-fleet\n"
            + _WRAPPED
            + "    fleet_lora_start(model, fsdp_model, resume_from, logger)  # canvas-fleet\n",
        ),
        Edit(
            "            resume_from, optimizer, scheduler, fsdp_config, \n",
            "            resume_from, optimizer, scheduler, fleet_lora_one(fsdp_config),  # canvas-fleet\n",
        ),
        Edit(_BACKWARD, _BACKWARD + "        fleet_lora_reduce(fsdp_model)  # canvas-fleet\n"),
        Edit(
            _SCHEDULED,
            _SCHEDULED + f"        if curr_step - train_step == {MOVED_AFTER}:  # canvas-fleet\n"
            "            fleet_lora_moved(fsdp_model, logger)\n",
        ),
    ),
)
