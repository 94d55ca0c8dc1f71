"""The text that patch_lora puts into the deployed train/fsdp_utils.py: it runs there, beside torch, not here."""

from __future__ import annotations

HELPERS = '''\
# canvas-fleet begin (training_profile: lora; the role canvas_code puts this in and takes it out)
FLEET_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FLEET_TARGETS = {"attention": FLEET_ATTENTION, "all": (*FLEET_ATTENTION, "gate_proj", "up_proj", "down_proj")}
FLEET_BUCKET = 16 << 20  # gradients that are reduced at a time
FLEET_BASE = "ema.safetensors"
FLEET_ADAPTER = "adapter.safetensors"


class FleetAdapter(torch.nn.Module):
    """The low-rank pair beside a Linear: fp32, the same on each rank. It computes in the type of the base's output."""

    def __init__(self, base, rank, alpha, dropout, source):
        super().__init__()
        self.scale, self.dropout = alpha / rank, dropout
        bound = base.in_features ** -0.5  # kaiming_uniform with a = sqrt(5), as usual
        self.lora_A = torch.nn.Parameter((torch.rand(rank, base.in_features, generator=source) * 2 - 1) * bound)
        self.lora_B = torch.nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, given, out):
        given = given.to(out.dtype)
        if self.dropout and self.training:
            given = torch.nn.functional.dropout(given, self.dropout)
        low = torch.nn.functional.linear(given, self.lora_A.to(out.dtype))
        return torch.addmm(out, low, self.lora_B.to(out.dtype).t(), alpha=self.scale)


class FleetLinear(torch.nn.Linear):
    """A Linear of the base under its own name and with its own keys, and the adapter beside it."""

    def forward(self, given):
        return self.fleet_adapter(given, super().forward(given))


def fleet_lora_metadata(args):
    """What a file of adapters says of itself."""
    return {
        "rank": str(args.fleet_lora_rank),
        "alpha": str(float(args.fleet_lora_alpha)),
        "targets": args.fleet_lora_targets,
        "connectors": str(args.fleet_lora_connectors).lower(),
    }


def fleet_lora_base(resume_from, model_path, args):
    """The folder of the base's weights, always model_path. Refuses a start that would train beside something else.

    A checkpoint of adapters holds no base, so upstream would start from scratch, with plausible losses.
    """
    base = os.path.join(model_path, FLEET_BASE)
    if not os.path.exists(base):
        raise RuntimeError(f"training_profile lora: {base} is missing, and adapters alone are no model")
    adapter = os.path.join(resume_from or "", FLEET_ADAPTER)
    if not os.path.exists(adapter):
        if not os.path.exists(resume_from or "") or not os.path.samefile(resume_from, model_path):
            raise RuntimeError(f"training_profile lora: {resume_from} is not {model_path} and has no {FLEET_ADAPTER}")
        return model_path
    with safe_open(adapter, framework="pt") as file:
        held = file.metadata() or {}
    wanted = {**fleet_lora_metadata(args), "base_header_sha256": fleet_lora_header(base)[0]}
    for name, value in wanted.items():
        if held.get(name) != value:
            raise RuntimeError(f"training_profile lora: {adapter} has {name} {held.get(name)}, not {value}")
    return model_path


def fleet_lora_header(path):
    """Digest of the header of a safetensors file, and the names of its tensors."""
    with open(path, "rb") as file:
        header = file.read(struct.unpack("<Q", file.read(8))[0])
    return hashlib.sha256(header).hexdigest(), set(json.loads(header)) - {"__metadata__"}


def fleet_lora_connectors(model):
    """What is trained where language model and ViT are frozen."""
    names = ("language_model", "vit_model")
    parts = [part for name, part in model.named_children() if name not in names]
    return [part for part in parts if not isinstance(part, PositionEmbedding)]


def fleet_lora(model, model_path, args):
    """After the base is loaded: freezes it and puts the adapters beside it. Its keys stay as they are."""
    base = os.path.join(model_path, FLEET_BASE)
    digest, there = fleet_lora_header(base)
    wanted = {name for name in model.state_dict() if name.rpartition(".")[2] != "pos_embed"}
    if wanted - there:  # upstream would train random values and say nothing
        raise RuntimeError(f"training_profile lora: {base} has no weights for {sorted(wanted - there)[:3]}")
    model.fleet_metadata, model.fleet_loaded = {**fleet_lora_metadata(args), "base_header_sha256": digest}, len(wanted)
    model.requires_grad_(False)
    for part in fleet_lora_connectors(model) if args.fleet_lora_connectors else ():
        part.requires_grad_(True)
    source = torch.Generator().manual_seed(args.global_seed)  # ranks are seeded apart; their adapters start alike
    shape = (args.fleet_lora_rank, args.fleet_lora_alpha, args.fleet_lora_dropout)
    for name, module in list(model.language_model.model.layers.named_modules()):
        kind = name.rpartition(".")[2].removesuffix("_moe_gen")
        if isinstance(module, torch.nn.Linear) and kind in FLEET_TARGETS[args.fleet_lora_targets]:
            module.fleet_adapter = FleetAdapter(module, *shape, source)
            module.__class__ = FleetLinear


def fleet_lora_apart(model):
    """What FSDP is to leave alone: adapters and trained connectors are whole on each rank, so files fit any number."""
    connectors = [part for part in fleet_lora_connectors(model) if any(one.requires_grad for one in part.parameters())]
    return connectors + [module for module in model.modules() if isinstance(module, FleetAdapter)]


def fleet_lora_trained(model):
    """[(key, parameter)] of what is trained, in the model's order: the same for each way to wrap it."""
    return [
        (clean_tensor_name(name).replace(".fleet_adapter.", "."), param)
        for name, param in model.named_parameters() if param.requires_grad
    ]


def fleet_lora_start(model, wrapped, resume_from, logger):
    """Once it is wrapped: what FSDP left alone goes to the GPU, and gets the values of a checkpoint of adapters."""
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    for part in fleet_lora_apart(model):
        part.to(device)
    trained = fleet_lora_trained(wrapped)
    path = os.path.join(resume_from or "", FLEET_ADAPTER)
    if os.path.exists(path):
        logger.info(f"Loading checkpoint from {resume_from}.")
        held = load_file(path, device="cpu")
        if held.keys() != {key for key, _ in trained}:
            raise RuntimeError(f"training_profile lora: {path} holds other tensors than those that are trained")
        for key, param in trained:
            param.data.copy_(held[key])
        logger.info("<All keys matched successfully>")
    adapters = [param for key, param in trained if ".lora_" in key]
    logger.info(
        f"canvas-fleet lora: {len(adapters) // 2} adapters, {sum(one.numel() for one in adapters)} parameters, "
        f"rank {model.fleet_metadata['rank']}, base {model.fleet_loaded} tensors loaded"
    )
    if not adapters:
        raise RuntimeError("training_profile lora: the model has no layer of these targets")


@torch.no_grad()
def fleet_lora_reduce(model):
    """The gradients' mean over all ranks: FSDP knows nothing of what it was to leave alone."""
    params = [param for _, param in fleet_lora_trained(model)]
    for param in params:
        if param.grad is None:  # of a layer that this rank's batch did not use
            param.grad = torch.zeros_like(param)
    waiting, size = [], 0
    for number, param in enumerate(params, start=1):
        waiting.append(param.grad)
        size += param.numel()
        if dist.get_world_size() > 1 and (size >= FLEET_BUCKET or number == len(params)):
            flat = torch.cat([grad.view(-1) for grad in waiting])
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
            for grad, part in zip(waiting, flat.split([grad.numel() for grad in waiting])):
                grad.copy_(part.view_as(grad))
            waiting, size = [], 0


@torch.no_grad()
def fleet_lora_moved(model, logger):
    """Says how far the adapters are from where they began."""
    squares = [param.square().sum() for key, param in fleet_lora_trained(model) if key.endswith(".lora_B")]
    logger.info(f"canvas-fleet lora: |B| = {float(torch.stack(squares).sum().sqrt()):.6g}")


def fleet_lora_one(config):
    """The optimizer's state is the same on each rank, so it is one file for any number of shards."""
    return FSDPConfig("HYBRID_SHARD", config.backward_prefetch, config.cpu_offload, 1, 1)


def fleet_lora_save(folder, model, optimizer, scheduler, data_status, logger):
    """A checkpoint without the base. Each file gets its name when it is whole, so a kill leaves no torn one."""
    fleet_lora_moved(model, logger)
    if dist.get_rank() != 0:
        return
    tensors = {key: param.detach().cpu() for key, param in fleet_lora_trained(model)}
    files = {
        FLEET_ADAPTER: lambda path: save_file(tensors, path, metadata=model.fleet_metadata),
        "optimizer.00000-of-00001.pt": lambda path: torch.save(optimizer.state_dict(), path),
        "scheduler.pt": lambda path: torch.save(scheduler.state_dict(), path),
        "data_status.pt": lambda path: torch.save(data_status, path),
    }
    for name, write in files.items():
        path = os.path.join(folder, name)
        try:
            write(f"{path}.part")
        except BaseException:
            if os.path.exists(f"{path}.part"):
                os.remove(f"{path}.part")
            raise
        os.replace(f"{path}.part", path)
# canvas-fleet end


'''
