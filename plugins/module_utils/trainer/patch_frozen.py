"""training_profile: frozen in the deployed code, written for canvas-fleet from what the trainer does.

The language model and the ViT are frozen:
- no EMA copy when --ema is 0; ema.safetensors is then another name of model.safetensors, which an EMA of decay 0 is;
- the two Linear layers of the model's top level become FSDP units of their own, for a flat parameter is trained as a
  whole or not at all ("Must flatten tensors with uniform requires_grad");
- frozen weights are held in bf16, as their file has them and as the forward computes with them: 2 B instead of 4;
- with --cpu_offload True on one GPU the frozen layers stay in pinned host memory, and each forward fetches its own;
- the optimizer knows the trained parameters alone, so its state fits with and without that.
"""

from __future__ import annotations

from .patch import Edit, Patch

HELPERS = '''\
# canvas-fleet begin (training_profile: frozen; the role canvas_code puts this in and takes it out)
class FleetStream:
    """A frozen layer whose weights stay in host memory, in one piece; each forward brings a copy to the GPU.

    Under activation checkpointing the copy of the first forward is free at once, that of the second one as soon as
    the layer's backward is done: autograd holds the copy, never the weights themselves.
    """

    def __init__(self, layer, device):
        self.forward, self.device = layer.forward, device
        self.slots = [
            (module, name, param) for module in layer.modules()
            for name, param in module.named_parameters(recurse=False)
        ]
        self.sizes = [param.numel() for *_, param in self.slots]
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


def fleet_ema_name(ema_model, folder):
    """Without an EMA copy (--ema 0) the EMA is the model: one file under both names."""
    if ema_model is None:
        model, ema = (os.path.join(folder, f"{name}.safetensors") for name in ("model", "ema"))
        if os.path.lexists(ema):
            os.remove(ema)
        try:
            os.link(model, ema)
        except OSError:
            shutil.copyfile(model, ema)
# canvas-fleet end


'''

_WRAP = "def fsdp_wrapper(original_model, fsdp_config, ignored_modules=[]):\n"
_EMA_SETUP = "def fsdp_ema_setup(ema_model, fsdp_config, ignored_modules=[]):\n"
_EMA_UPDATE = "def fsdp_ema_update(ema_model, model, decay=0.9999):\n"
_SAVED = 'save_file(model_state_dict, os.path.join(save_path, "model.safetensors"))\n'

FSDP_UTILS = Patch(
    setting="training_profile: frozen",
    path="train/fsdp_utils.py",
    versions=(
        (
            "97c822d93f9083c2a0da16633eda12a46e868851cc8c2b6015d1733292d0d1db",
            "01c30925ccc671e08f8f0de4334b7708ddc41e1b609b0c66a5c15e080f13421e",
        ),
    ),
    edits=(
        Edit("import os\n", "import os\nimport shutil  # canvas-fleet\n"),
        Edit(
            _WRAP,
            HELPERS + _WRAP + "    # canvas-fleet: the EMA copy, frozen as a whole, was prepared by fsdp_ema_setup\n"
            "    if any(param.requires_grad for param in original_model.parameters()):\n"
            "        ignored_modules = fleet_frozen(original_model, fsdp_config)\n"
            "        for layer in ignored_modules:\n"
            '            FleetStream(layer, torch.device("cuda" if torch.cuda.is_available() else "cpu"))\n',
        ),
        Edit(
            "            transformer_auto_wrap_policy,\n", "            fleet_units(original_model),  # canvas-fleet\n"
        ),
        Edit(
            "offload_params=fsdp_config.cpu_offload),\n",
            "offload_params=fsdp_config.cpu_offload and not ignored_modules),  # canvas-fleet\n",
        ),
        Edit(_SAVED, _SAVED + "                fleet_ema_name(ema_model, save_path)  # canvas-fleet\n"),
        Edit(
            _EMA_SETUP,
            _EMA_SETUP + "    if ema_model is None:  # canvas-fleet: --ema 0\n        return None\n"
            "    ignored_modules = fleet_frozen(ema_model, fsdp_config)  # canvas-fleet\n",
        ),
        Edit(
            _EMA_UPDATE,
            _EMA_UPDATE + "    if ema_model is None:  # canvas-fleet: --ema 0\n        return\n",
        ),
    ),
)

TRAINER = Patch(
    setting="training_profile: frozen",
    path="train/pretrain_unified_navit.py",
    versions=(
        (
            "54723c1474206056124420a1646b5ec5c8f3165dd583b1d53450bf1ae83f558f",
            "45ce09bbbe78371f5d73ce0bc373576e01463909394be93b5a08a08ec59cdf9c",
        ),
        (
            "56803ec4580d140f48ad37a34b400a26b045c10b0f7cbd5fa6bb9e3c1cc97848",
            "c0f39cc4186b3a5d667431fbb9e9796ee7cdb965bb17fa8067995710a9105c3f",
        ),
    ),
    edits=(
        Edit(
            "    ema_model = deepcopy(model)\n",
            "    ema_model = deepcopy(model) if training_args.ema > 0 else None  # canvas-fleet\n",
        ),
        Edit(
            "        fsdp_model.parameters(), \n",
            "        [param for param in fsdp_model.parameters() if param.requires_grad],  # canvas-fleet\n",
        ),
        Edit(
            "    ema_model.eval()\n",
            "    if ema_model is not None:  # canvas-fleet: --ema 0\n        ema_model.eval()\n",
        ),
    ),
)
