"""Lean starts and lean saves of the deployed trainer, written for canvas-fleet from what the trainer does.

Upstream builds the model in fp32 on every rank, draws random weights, copies it for the EMA and reads the file into
both: 10 B per parameter and rank of host memory, minutes per start. A save gathers the whole model in rank 0's memory.

- The model is built on the meta device. FSDP asks for the weights of one unit at a time, and they go from the file to
  the GPU in pieces; what comes out is what upstream has, to the last bit. Ranks need not talk to each other for it.
- Frozen layers that stay in host memory (training_profile: frozen with --cpu_offload) are filled one by one too.
- A save gathers one unit at a time in bf16; rank 0 writes it to its place in the file that save_file would write, byte
  for byte, under a name of its own until it is whole.
- The optimizer's state of a resume is mapped, not read, so that it goes to the GPU without a copy in host memory.
- Upstream's own way stays for what is not such a start: without a file, with --vit_rope, or where tokens are added.
"""

from __future__ import annotations

from .patch import Edit, Patch
from .patch_lean_text import HELPERS

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
_WRAP = "def fsdp_wrapper(original_model, fsdp_config, ignored_modules=[]):\n"
_IGNORED = "        ignored_modules=ignored_modules,\n"


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
    versions=(
        (
            "97c822d93f9083c2a0da16633eda12a46e868851cc8c2b6015d1733292d0d1db",
            "846a4e6674f9f2ed77d1a0b35aebec7ade5bbd6f1e024b8ac103719c614ba04f",
        ),
        (
            "01c30925ccc671e08f8f0de4334b7708ddc41e1b609b0c66a5c15e080f13421e",
            "aeea3a44a7f80534fd7866c29ac779c12028bf46c5b507b8abe1988f3ceab47d",
        ),
    ),
    edits=(
        Edit(_SAFETENSORS, _SAFETENSORS + _IMPORTS),
        Edit(_WRAP, HELPERS + _WRAP),
        Edit(
            _IGNORED,
            _IGNORED + "        param_init_fn=fleet_init(original_model, ignored_modules),  # canvas-fleet\n",
        ),
        _loaded("model"),
        _loaded("ema"),
        *_saved("ema"),
        *_saved("model"),
        # Offloaded moments stay in host memory: a mapping would be what they live in.
        Edit(f"{_OPTIMIZER})\n", f"{_OPTIMIZER}, mmap=not fsdp_config.cpu_offload)  # canvas-fleet\n"),
    ),
)

# After frozen's patch alone: the layers that FleetStream keeps in host memory.
STREAMED = Patch(
    setting="canvas_code_lean",
    path="train/fsdp_utils.py",
    versions=(
        (
            "aeea3a44a7f80534fd7866c29ac779c12028bf46c5b507b8abe1988f3ceab47d",
            "653d63b77ed835f4490097b7927545ad48494c35bdf496a820341ecdea2af7f8",
        ),
    ),
    edits=(
        Edit(
            "        for layer in ignored_modules:\n",
            "        for layer in fleet_filled(original_model, ignored_modules):  # canvas-fleet\n",
        ),
    ),
)

_SETUP = "    # Setup model:\n"
_BUILDER = "fleet_builder(resume_from, model_args, training_args)"
_TOKENIZER = "    # Setup tokenizer for model:\n"
_CONVERT = "model.vit_model.vision_model.embeddings.convert_conv2d_to_linear"

TRAINER = Patch(
    setting="canvas_code_lean",
    path="train/pretrain_unified_navit.py",
    versions=(
        (
            "54723c1474206056124420a1646b5ec5c8f3165dd583b1d53450bf1ae83f558f",
            "2e572c3d92e26a391836a14ae1ae1d2ae870a7452fea1d9dec7cebc23bdbd015",
        ),
        (
            "56803ec4580d140f48ad37a34b400a26b045c10b0f7cbd5fa6bb9e3c1cc97848",
            "1bc90e842fe851181206ea397da043430fe9d7a41a03a5f263b4260dfdc43b89",
        ),
        (
            "45ce09bbbe78371f5d73ce0bc373576e01463909394be93b5a08a08ec59cdf9c",
            "aee5b88fcad432740f0ad9f6867feb82c91ac7f22dbb4b8ef70e6daf7e497f86",
        ),
        (
            "c0f39cc4186b3a5d667431fbb9e9796ee7cdb965bb17fa8067995710a9105c3f",
            "40f83633923a3852adecde69f39966ebfcc3482c6258486ab574d2bef57ebb61",
        ),
    ),
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
