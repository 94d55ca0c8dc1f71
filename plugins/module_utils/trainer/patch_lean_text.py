"""The text that patch_lean puts into the deployed train/fsdp_utils.py: it runs there, beside torch, not here."""

from __future__ import annotations

HELPERS = '''\
# canvas-fleet begin (canvas_code_lean; the role canvas_code puts this in and takes it out)
FLEET_PIECE = 64 << 20  # bytes on their way between file and GPU
FLEET_COMPUTED = ("latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed")  # the trainer never reads them from a file
FLEET_TYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64}


def fleet_builder(resume_from, model_args, training_args):
    """How the model is built: on the meta device where a file has all its weights, else as it is without this patch."""
    from data.data_utils import add_special_tokens
    from modeling.qwen2 import Qwen2Tokenizer

    if not training_args.finetune_from_hf or model_args.vit_rope:
        return lambda make: make
    if resume_from is None or not os.path.exists(resume_from):
        return lambda make: make
    new_tokens = add_special_tokens(Qwen2Tokenizer.from_pretrained(model_args.model_path))[2]
    return fleet_on_meta if new_tokens == 0 else lambda make: make


def fleet_on_meta(make):
    """`make`, whose parameters are on the meta device as soon as a module has them. Buffers are computed as ever."""

    def made(*args, **kwargs):
        register = torch.nn.Module.register_parameter

        def on_meta(module, name, param):
            if param is not None and not param.is_meta:
                param = torch.nn.Parameter(param.data.to("meta"), requires_grad=param.requires_grad)
            register(module, name, param)

        torch.nn.Module.register_parameter = on_meta
        try:
            return make(*args, **kwargs)
        finally:
            torch.nn.Module.register_parameter = register

    return made


def fleet_device():
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


class FleetPieces:
    """Two pieces of pinned memory in turn: the CPU works on one while the GPU works on the other."""

    def __init__(self, device):
        self.gpu = device.type == "cuda"
        self.pieces = [torch.empty(FLEET_PIECE, dtype=torch.uint8, pin_memory=self.gpu) for _ in range(2)]
        self.busy = [torch.cuda.Event() if self.gpu else None for _ in range(2)]
        self.turn = 0

    def next(self, size):
        """A piece that the GPU is done with, and its event."""
        self.turn = 1 - self.turn
        event = self.busy[self.turn]
        if event:
            event.synchronize()
        return self.pieces[self.turn][:size], event


class FleetFile:
    """A safetensors file whose tensors are read one at a time, each in pieces."""

    def __init__(self, path):
        with safe_open(path, framework="pt"):  # refuses a file that was cut, in the words of load_file
            self.path = path
        with open(path, "rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            self.tensors = json.loads(file.read(size))
        self.tensors.pop("__metadata__", None)
        self.begin = 8 + size

    def shapes(self):
        """What load_file would give, without contents."""
        return {
            name: torch.empty(entry["shape"], dtype=FLEET_TYPES[entry["dtype"]], device="meta")
            for name, entry in self.tensors.items()
        }

    def read(self, name, param, pieces=None):
        if name not in self.tensors:  # upstream would train random values and say nothing
            raise RuntimeError(f"{self.path} has no weights for {name}")
        begin, end = self.tensors[name]["data_offsets"]
        dtype, flat, at = FLEET_TYPES[self.tensors[name]["dtype"]], param.view(-1), 0
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.begin + begin)
            if not param.is_cuda and dtype == param.dtype:
                self.readinto(file, flat.view(torch.uint8), name)
                return
            pieces = pieces or FleetPieces(param.device)
            for start in range(begin, end, FLEET_PIECE):
                piece, event = pieces.next(min(FLEET_PIECE, end - start))
                self.readinto(file, piece, name)
                values = piece.view(dtype).to(param.device, non_blocking=True)
                if event:
                    event.record()
                flat[at:at + values.numel()].copy_(values)
                at += values.numel()

    def readinto(self, file, tensor, name):
        left = memoryview(tensor.numpy())
        while left:
            got = file.readinto(left)
            if not got:
                raise OSError(f"{self.path} ends within {name}")
            left = left[got:]


class FleetFill:
    """Gives meta parameters their weights, module by module; FSDP calls it for each unit (param_init_fn)."""

    def __init__(self, model):
        self.file = vars(model)["fleet_file"]
        self.names = {module: f"{name}." if name else "" for name, module in model.named_modules()}
        self.pieces = FleetPieces(fleet_device())
        self.done = weakref.WeakValueDictionary()  # by meta parameter: tied weights are one. Weak: FSDP frees them
        self.metas = []  # keeps them alive, so that none gets the id of another

    @torch.no_grad()
    def __call__(self, module, device=None):
        for name, meta in list(module.named_parameters(recurse=False)):
            if not meta.is_meta:
                continue
            param = self.done.get(id(meta))
            if param is None:
                values = torch.empty(meta.shape, dtype=meta.dtype, device=device or fleet_device())
                param = torch.nn.Parameter(values, requires_grad=meta.requires_grad)
                self._read(self.names[module] + name, module, name, param)
                self.done[id(meta)] = param
                self.metas.append(meta)
            module._parameters[name] = param

    def _read(self, key, module, name, param):
        if key in FLEET_COMPUTED:
            module._parameters[name] = param
            module._init_weights()
        else:
            self.file.read(key, param.data, self.pieces)


def fleet_load(model, path):
    """What load_file gives; where the model is on the meta device without contents, which come when it is wrapped."""
    if not any(param.is_meta for param in model.parameters()):
        return load_file(path, device="cpu")
    vars(model)["fleet_file"] = file = FleetFile(path)
    return file.shapes()


def fleet_init(model, ignored_modules):
    """param_init_fn for a model on the meta device; what FSDP is to ignore is filled here, in host memory."""
    if "fleet_file" not in vars(model):
        return None
    fill = FleetFill(model)
    for module in (module for part in ignored_modules for module in part.modules()):
        fill(module, torch.device("cpu"))
    return fill


def fleet_units_of(model):
    """[(handle, [(name, shape, place in the unit)])] of a wrapped model; what FSDP ignores: [(None, [(…, tensor)])]."""
    prefix = {module: f"{name}." if name else "" for name, module in model.named_modules()}
    units = []
    for handle in traversal_utils._get_fsdp_handles(model):
        flat, at, places = handle.flat_param, 0, {}
        own = iter(zip(flat._param_infos, flat._shapes))
        for size, padding in zip(flat._numels_with_padding, flat._is_padding_mask):
            if not padding:
                info, shape = next(own)
                places[info.module, info.param_name] = (shape, at)
            at += size
        for shared in flat._shared_param_infos:
            places[shared.module, shared.param_name] = places[shared.prim_module, shared.prim_param_name]
        units.append((handle, [
            (clean_tensor_name(prefix[module] + name), shape, at) for (module, name), (shape, at) in places.items()
        ]))
    flats = {id(handle.flat_param) for handle, _ in units}
    units += [
        (None, [(clean_tensor_name(name), param.shape, param)])
        for name, param in model.named_parameters() if id(param) not in flats
    ]
    return units


def fleet_header(units):
    """The first bytes of the file as save_file writes them, and where each tensor begins."""
    shapes = sorted((name, list(shape)) for _, tensors in units for name, shape, _ in tensors)
    entries, places, at = {}, {}, 0
    for name, shape in shapes:
        places[name], begin = at, at
        at += 2 * math.prod(shape)
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, at]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    head = struct.pack("<Q", len(text)) + text
    return head, {name: len(head) + place for name, place in places.items()}


def fleet_gather(handle):
    """One unit in bf16, whole, on the ranks that share its shards."""
    local = handle.flat_param.data.to(torch.bfloat16).to(handle.device)
    if not handle.uses_sharded_strategy:
        return local
    whole = torch.empty(local.numel() * handle.world_size, dtype=local.dtype, device=local.device)
    dist.all_gather_into_tensor(whole, local, group=handle.process_group)
    return whole


class FleetWriter:
    """Writes tensors to their places: one piece comes from the GPU while the one before it is written."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self.pieces = FleetPieces(fleet_device())
        self.waiting = None

    def write(self, data, at):
        left = memoryview(data)
        while left:
            done = os.pwrite(self.file, left, at)
            left, at = left[done:], at + done

    def flush(self):
        if self.waiting:
            piece, event, at = self.waiting
            if event:
                event.synchronize()
            self.write(piece.numpy(), at)
        self.waiting = None

    def tensor(self, tensor, at):
        raw = tensor.detach().to(torch.bfloat16).contiguous().view(-1).view(torch.uint8)
        for part in raw.split(FLEET_PIECE):
            piece, event = self.pieces.next(part.numel())
            piece.copy_(part, non_blocking=True)
            if event:
                event.record()
            self.flush()
            self.waiting = (piece, event, at)
            at += part.numel()

    def close(self):
        os.close(self.file)


@contextlib.contextmanager
def fleet_aside(path):
    """A name for the time of writing: under its own name a file is whole, whenever the process is ended."""
    part = f"{path}.part"
    try:
        yield part
    except BaseException:
        if os.path.exists(part):
            os.remove(part)
        raise
    os.replace(part, path)


@torch.no_grad()
def fleet_write(model, units, path):
    """Collective: all ranks that share the shards of rank 0 gather, rank 0 writes."""
    if dist.get_rank() != 0:
        for handle, _ in units:
            if handle:
                fleet_gather(handle)
        return
    head, places = fleet_header(units)
    with fleet_aside(path) as part:
        writer = FleetWriter(part)
        try:
            writer.write(head, 0)
            for handle, tensors in units:
                whole = fleet_gather(handle) if handle else None
                for name, shape, source in tensors:
                    size = math.prod(shape)
                    writer.tensor(source if whole is None else whole[source:source + size], places[name])
                del whole  # before the next unit comes
            writer.flush()
        finally:
            writer.close()


def fleet_state(model, path):
    """Saves the model and returns {}; a model with more than FSDP's units of weights gives its state dict as ever."""
    if any(set(module._buffers) - module._non_persistent_buffers_set for module in model.modules()):
        return model.state_dict()
    units = fleet_units_of(model)
    groups = [dist.get_process_group_ranks(handle.process_group) for handle, _ in units if handle]
    if all(0 in ranks for ranks in groups):
        fleet_write(model, units, path)
    return {}


def fleet_save_file(state, path):
    if state:
        with fleet_aside(path) as part:
            save_file(state, part)
# canvas-fleet end


'''
