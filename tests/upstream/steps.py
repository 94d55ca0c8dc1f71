"""A few steps of a small random Bagel through upstream's own train/fsdp_utils.py, on the CPU; one line of JSON.

python steps.py < {"frozen", "ema", "copy", "offload", "out", "resume"}, in the tree, with torchrun's environment.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import logging
import os
import sys
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist

sys.path[:0] = [os.getcwd(), os.path.join(os.path.dirname(os.path.abspath(__file__)), "stubs")]
STEPS = 4


def on_cpu(module: Any) -> Any:
    """Upstream's module with the CPU where it says CUDA; everything else is its own."""
    real, mesh = module.FSDP, module.init_device_mesh
    torch.cuda.device_count = lambda: 1

    class Kind(type):
        def __call__(cls, *args: Any, device_id: Any = None, **more: Any) -> Any:
            return real(*args, device_id=torch.device("cpu"), **more)

        def __getattr__(cls, name: str) -> Any:
            return getattr(real, name)

    module.FSDP = Kind("FSDP", (), {})
    module.init_device_mesh = lambda device, **more: mesh("cpu", **more)
    return real


def small_model(frozen: bool) -> Any:
    import modeling.bagel.qwen2_navit as navit
    from modeling.bagel import Bagel, BagelConfig, Qwen2Config, Qwen2ForCausalLM, SiglipVisionConfig, SiglipVisionModel

    navit.sdpa_kernel = lambda backends: contextlib.nullcontext()  # asks for one that only a GPU has
    torch.manual_seed(7)
    llm = Qwen2Config(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=300,
        pad_token_id=0,
    )
    llm.layer_module, llm.qk_norm, llm.tie_word_embeddings, llm.freeze_und = "Qwen2MoTDecoderLayer", True, False, False
    vit = SiglipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=140, patch_size=14
    )
    vit.rope = False
    shape = {"latent_patch_size": 2, "max_latent_size": 8, "vit_max_num_patch_per_side": 10}
    vae = SimpleNamespace(downsample=8, z_channels=16)
    config = BagelConfig(llm_config=llm, vit_config=vit, vae_config=vae, **shape)
    model = Bagel(Qwen2ForCausalLM(llm), SiglipVisionModel(vit), config)
    model.vit_model.vision_model.embeddings.convert_conv2d_to_linear(vit)
    for param in model.parameters():
        if param.requires_grad:
            param.data.normal_(0, 0.05)
        param.data = param.data.to(torch.bfloat16).float()  # as weights that come from a file are
    for part in (model.language_model, model.vit_model) if frozen else ():
        part.eval().requires_grad_(False)
    return model


def batch(step: int) -> dict[str, Any]:
    """One sample: text, an image for the ViT, an image for the VAE."""
    source = torch.Generator().manual_seed(100 * step + dist.get_rank())
    text, vit, vae = 20, 10, 16
    total = text + vit + vae
    places = torch.arange(total)
    return {
        "sequence_length": total,
        "packed_text_ids": torch.randint(3, 300, (text,), generator=source),
        "packed_text_indexes": places[:text],
        "sample_lens": [total],
        "packed_position_ids": places,
        "nested_attention_masks": [torch.zeros(total, total)],
        "ce_loss_indexes": places[5:text],
        "packed_label_ids": torch.randint(3, 300, (text - 5,), generator=source),
        "packed_vit_tokens": torch.randn(vit, 14 * 14 * 3, generator=source),
        "packed_vit_token_indexes": places[text : text + vit],
        "packed_vit_position_ids": torch.arange(vit),
        "vit_token_seqlens": torch.tensor([vit], dtype=torch.int32),
        "padded_latent": torch.randn(1, 16, 8, 8, generator=source),
        "patchified_vae_latent_shapes": [(4, 4)],
        "packed_latent_position_ids": torch.arange(16),
        "packed_vae_token_indexes": places[text + vit :],
        "packed_timesteps": torch.randn(16, generator=source),
        "mse_loss_indexes": places[text + vit :],
    }


def train(told: dict[str, Any]) -> dict[str, Any]:
    import train.fsdp_utils as utils
    from torch.distributed.algorithms._checkpoint import checkpoint_wrapper as wrapper

    real, log = on_cpu(utils), logging.getLogger()
    config = utils.FSDPConfig("HYBRID_SHARD", "BACKWARD_PRE", told["offload"], 1, dist.get_world_size())
    model = small_model(told["frozen"])
    ema = copy.deepcopy(model) if told["copy"] else None
    model, ema = utils.FSDPCheckpoint.try_load_ckpt(told["resume"], log, model, ema)
    ema = utils.fsdp_ema_setup(ema, config)
    wrapped = utils.fsdp_wrapper(model, config)
    no_reentrant = functools.partial(wrapper.checkpoint_wrapper, checkpoint_impl=wrapper.CheckpointImpl.NO_REENTRANT)
    wrapper.apply_activation_checkpointing(
        wrapped, checkpoint_wrapper_fn=no_reentrant, check_fn=utils.grad_checkpoint_check_fn
    )
    trained = [param for param in wrapped.parameters() if param.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.95), eps=1e-15, weight_decay=0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    first = 0
    if told["resume"]:
        load = utils.FSDPCheckpoint.try_load_train_state
        optimizer, scheduler, first, _ = load(told["resume"], optimizer, scheduler, config)
    wrapped.train()
    losses = [_step(utils, step, wrapped, ema, optimizer, told["ema"]) for step in range(first, first + STEPS)]
    if dist.get_world_size() == 1:  # FSDP cannot gather on the CPU
        save = utils.FSDPCheckpoint.fsdp_save_ckpt
        save(told["out"], first + STEPS - 1, wrapped, ema, optimizer, scheduler, [{}], log, config)
    units = sum(isinstance(module, real) for module in wrapped.modules())
    streamed = sum(type(vars(module).get("forward")).__name__ == "FleetStream" for module in wrapped.modules())
    held = {str(param.dtype).removeprefix("torch.") for param in wrapped.parameters() if not param.requires_grad}
    found = {"losses": losses, "units": units, "streamed": streamed, "frozen": sorted(held)}
    return {**found, "trained": sum(param.numel() for param in trained), "states": len(optimizer.state)}


def _step(utils: Any, step: int, model: Any, ema: Any, optimizer: Any, decay: float) -> float:
    torch.manual_seed(1000 + step)
    with torch.amp.autocast("cpu", enabled=True, dtype=torch.bfloat16):
        losses = model(**batch(step))
    loss = losses["ce"].mean() * 0.25 + losses["mse"].mean()
    optimizer.zero_grad()
    loss.backward()
    model.clip_grad_norm_(1.0)
    optimizer.step()
    utils.fsdp_ema_update(ema, model, decay=decay)
    return float(loss)


def main() -> None:
    told = json.load(sys.stdin)
    out, sys.stdout = sys.stdout, sys.stderr
    dist.init_process_group("gloo")
    try:
        answer: dict[str, Any] = {"ok": train(told)}
    except Exception as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    out.write(json.dumps(answer) + "\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
