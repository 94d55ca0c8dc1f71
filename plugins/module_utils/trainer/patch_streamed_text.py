"""The text that patch_lean puts into the deployed train/fsdp_utils.py where layers are streamed: it runs there."""

from __future__ import annotations

HELPERS = '''\
# canvas-fleet begin (canvas_code_lean, streamed layers; the role canvas_code puts this in and takes it out)
FLEET_READERS = 8  # threads: finding memory, reading into it and pinning it each take a core


def fleet_room(cells):
    """Host memory for so many cells in bf16, of this process alone.

    The loaders' workers do not get it: a fork would copy what is pinned.
    """
    held = mmap.mmap(-1, 2 * cells, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for advice in (mmap.MADV_HUGEPAGE, mmap.MADV_DONTFORK):
        with contextlib.suppress(OSError):  # a kernel without huge pages
            held.madvise(advice)
    return torch.frombuffer(held, dtype=torch.bfloat16)


def fleet_pinned(room):
    """The same memory, pinned as it is; where the driver cannot do that, a pinned copy."""
    failed = int(torch.cuda.cudart().cudaHostRegister(room.data_ptr(), room.nbytes, 0))
    return room.pin_memory() if failed else room


def fleet_streamed(model, layers):
    """FleetStream of each layer, several at a time. Weights of a file are read into the memory that they stay in."""
    device = fleet_device()
    file = vars(model).get("fleet_file")
    names = {module: f"{name}." for name, module in model.named_modules()}

    def stream(layer):
        if file is None:
            FleetStream(layer, device)
            return
        slots = fleet_slots(layer)
        sizes = [meta.numel() for *_, meta in slots]
        room = fleet_room(sum(sizes))
        for part, (module, name, meta) in zip(room.split(sizes), slots):
            file.read(names[module] + name, part)
        weights = fleet_pinned(room) if device.type == "cuda" else room
        for part, (module, name, meta) in zip(weights.split(sizes), slots):
            module._parameters[name] = torch.nn.Parameter(part.view(meta.shape), requires_grad=meta.requires_grad)
        FleetStream(layer, device, weights)

    share = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    begin = (torch.cuda.set_device, (device,)) if device.type == "cuda" else (None, ())
    with ThreadPoolExecutor(max(1, min(FLEET_READERS, share)), "fleet", *begin) as readers:
        list(readers.map(stream, layers))
# canvas-fleet end


'''
