"""training_profile: frozen in the deployed code, written for canvas-fleet from what the trainer does.

The language model and the ViT are frozen (patch_no_ema leaves out the EMA copy when --ema is 0):
- the two Linear layers of the model's top level become FSDP units of their own, for a flat parameter is trained as a
  whole or not at all ("Must flatten tensors with uniform requires_grad");
- frozen weights are held in bf16, as their file has them and as the forward computes with them: 2 B instead of 4;
- with --cpu_offload True on one GPU the frozen layers stay in pinned host memory, and each forward fetches its own;
- the optimizer knows the trained parameters alone, so its state fits with and without that.
"""

from __future__ import annotations

from .patch import Edit, Patch
from .patch_digests import versions

HELPERS = '''\
# canvas-fleet begin (training_profile: frozen; the role canvas_code puts this in and takes it out)
def fleet_slots(layer):
    """[(module, name, parameter)] of a layer's frozen weights, in the order in which they lie in its piece."""
    return [
        (module, name, param) for module in layer.modules()
        for name, param in module.named_parameters(recurse=False)
    ]


class FleetStream:
    """A frozen layer whose weights stay in host memory, in one piece; each forward brings a copy to the GPU.

    Under activation checkpointing the copy of the first forward is free at once, that of the second one as soon as
    the layer's backward is done: autograd holds the copy, never the weights themselves.
    """

    def __init__(self, layer, device, weights=None):
        self.forward, self.device, self.weights = layer.forward, device, weights
        self.slots = fleet_slots(layer)
        self.sizes = [param.numel() for *_, param in self.slots]
        if weights is None:  # else the layer's own lie in that piece already
            self.weights = torch.empty(sum(self.sizes), dtype=torch.bfloat16, pin_memory=device.type == "cuda")
            for part, (*_, param) in zip(self.weights.split(self.sizes), self.slots):
                part.copy_(param.data.flatten())
                param.data = part.view(param.shape)
        for module in layer.modules():
            for name, buffer in module.named_buffers(recurse=False):
                module._buffers[name] = buffer.to(device)
        layer.forward = self

    def __call__(self, *args, **kwargs):
        fetched = self.weights.to(self.device, non_blocking=True).split(self.sizes)
        try:
            for part, (module, name, param) in zip(fetched, self.slots):
                module._parameters[name] = part.view(param.shape)
            return self.forward(*args, **kwargs)
        finally:
            for module, name, param in self.slots:
                module._parameters[name] = param


def fleet_stream(model, layers):
    for layer in layers:
        FleetStream(layer, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def fleet_frozen(model, fsdp_config):
    """Frozen weights to bf16; the layers among them that stay in host memory: on one GPU with cpu_offload."""
    for param in model.parameters():
        if not param.requires_grad:
            param.data = param.data.to(torch.bfloat16)
    if not fsdp_config.cpu_offload or dist.get_world_size() > 1:
        return []
    layers = (Qwen2DecoderLayer, Qwen2MoEDecoderLayer, Qwen2MoTDecoderLayer, SiglipEncoderLayer)
    return [
        module for module in model.modules()
        if isinstance(module, layers) and not any(param.requires_grad for param in module.parameters())
    ]


def fleet_units(model):
    """The wrap policy, and the Linear layers of the top level apart: they are trained where the rest is frozen."""
    apart = [module for module in model.children() if isinstance(module, torch.nn.Linear)]

    def policy(module, recurse, nonwrapped_numel, transformer_layer_cls):
        if not recurse and any(module is one for one in apart):
            return True
        return transformer_auto_wrap_policy(module, recurse, nonwrapped_numel, transformer_layer_cls)

    return policy
# canvas-fleet end


'''

WRAP = "def fsdp_wrapper(original_model, fsdp_config, ignored_modules=[]):\n"
STREAM = "        fleet_stream(original_model, ignored_modules)\n"
_EMA_FROZEN = "    for param in ema_model.parameters():\n"

FSDP_UTILS = Patch(
    setting="training_profile: frozen",
    path="train/fsdp_utils.py",
    name="frozen",
    versions=versions("train/fsdp_utils.py", "frozen"),
    edits=(
        Edit(
            WRAP,
            HELPERS + WRAP + "    # canvas-fleet: the EMA copy, frozen as a whole, was prepared by fsdp_ema_setup\n"
            "    if any(param.requires_grad for param in original_model.parameters()):\n"
            "        ignored_modules = fleet_frozen(original_model, fsdp_config)\n" + STREAM,
        ),
        Edit(
            "            transformer_auto_wrap_policy,\n", "            fleet_units(original_model),  # canvas-fleet\n"
        ),
        Edit(
            "offload_params=fsdp_config.cpu_offload),\n",
            "offload_params=fsdp_config.cpu_offload and not ignored_modules),  # canvas-fleet\n",
        ),
        Edit(
            _EMA_FROZEN,
            "    ignored_modules = fleet_frozen(ema_model, fsdp_config)  # canvas-fleet\n" + _EMA_FROZEN,
        ),
    ),
)

TRAINER = Patch(
    setting="training_profile: frozen",
    path="train/pretrain_unified_navit.py",
    name="frozen",
    versions=versions("train/pretrain_unified_navit.py", "frozen"),
    edits=(
        Edit(
            "        fsdp_model.parameters(), \n",
            "        [param for param in fsdp_model.parameters() if param.requires_grad],  # canvas-fleet\n",
        ),
    ),
)
