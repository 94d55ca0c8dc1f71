"""Weights into the reasoner's model: checked, with adapters, and where it must be one layer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Callable

from ..core.errors import FleetError
from ..trainer import safetensors
from ..trainer.adapter import PARTS, adapter_of, layers_of
from .subjects import Subject

LAYERS = ("language_model", "model", "layers")
FIXED = ".pos_embed"  # computed, not trained; a file may lack them
Module = Any  # of torch
Load = Callable[..., Module]


@contextmanager
def replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    """Another value under a name of the deployed code, while the block runs."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


class Keeper:
    """Stands around the function by which the reasoner loads its weights."""

    def __init__(self, subject: Subject, streamed: bool, device: str) -> None:
        self.subject, self.streamed, self.device = subject, streamed, device

    def around(self, real: Load) -> Load:
        """A function to call instead of it, with the same arguments."""

        def load(model: Module, checkpoint: str, **how: Any) -> Module:
            refuse_others(model, checkpoint)
            if self.streamed:
                fill(model, checkpoint)
            else:
                model = real(model, checkpoint=checkpoint, **how)
            finish_positions(model, self.device)
            if self.subject.adapter:
                add_adapters(model, self.subject.adapter, checkpoint)
            return stream(model, self.device) if self.streamed else model

        return load


def refuse_others(model: Module, path: str) -> None:
    """Raises FleetError unless the file has the model's tensors, by name and shape."""
    there = {name: tuple(one.shape) for name, one in safetensors.from_file(path).tensors.items()}
    wanted = {name: tuple(one.shape) for name, one in model.state_dict().items()}
    lacking = sorted(name for name in set(wanted) - set(there) if not name.endswith(FIXED))
    extra = sorted(set(there) - set(wanted))
    other = sorted(name for name in set(there) & set(wanted) if there[name] != wanted[name])
    if lacking or extra or other:
        words = (("lacks", lacking), ("also has", extra), ("has another shape of", other))
        said = "; ".join(f"it {verb} {len(names)}, such as {names[0][:80]}" for verb, names in words if names)
        raise FleetError(
            "this checkpoint is of another model", found=f"{path}: {said}", expected="weights_dir's tensors"
        )


def finish_positions(model: Module, device: str) -> None:
    """Marks of positions that the file lacks, as the model's own classes compute them."""
    torch = import_module("torch")
    for module in model.modules():
        marks = vars(module).get("_parameters", {}).get("pos_embed")
        if marks is not None and marks.is_meta:
            empty = torch.empty(marks.shape, dtype=torch.float32)
            module.pos_embed = torch.nn.Parameter(empty, requires_grad=False)
            module._init_weights()
            narrow = module.pos_embed.data.to(torch.bfloat16).to(device)
            module.pos_embed = torch.nn.Parameter(narrow, requires_grad=False)


def fill(model: Module, path: str) -> None:
    """The file's values as parameters in bfloat16, on the host."""
    torch = import_module("torch")
    with import_module("safetensors").safe_open(path, framework="pt") as source:
        for name in source.keys():  # noqa: SIM118 - it is no mapping
            owner, _dot, own = name.rpartition(".")
            module, value = model.get_submodule(owner), source.get_tensor(name)
            if own in module._parameters:
                value = value.to(torch.bfloat16) if value.is_floating_point() else value
                module._parameters[own] = torch.nn.Parameter(value, requires_grad=False)
            else:
                module._buffers[own] = value


def add_adapters(model: Module, path: str, base: str) -> None:
    """W + alpha / rank · B · A in float32, rounded to bfloat16, and trained connectors in the base's place."""
    torch = import_module("torch")
    header = safetensors.from_file(path)
    try:
        adapter = adapter_of(header)
    except ValueError as error:
        raise FleetError("this is no file of adapters", found=f"{path}: {error}") from error
    _refuse_other_base(adapter.base, base, path)
    parameters = dict(model.named_parameters())
    with torch.no_grad(), import_module("safetensors").safe_open(path, framework="pt") as source:
        for layer in layers_of(header.tensors):
            weight = _of(parameters, f"{layer}.weight", path)
            low, high = (source.get_tensor(layer + part).to(weight.device) for part in PARTS)
            weight.data = (weight.data.float() + (high @ low) * adapter.scale).to(weight.dtype)
        for name in header.tensors:
            if not name.endswith(PARTS):
                weight = _of(parameters, name, path)
                weight.data = source.get_tensor(name).to(weight.device, weight.dtype)


def _of(parameters: dict[str, Any], name: str, path: str) -> Any:
    if name not in parameters:
        raise FleetError("these adapters are of another model", found=f"{path}: {name[:80]} is none of the model's")
    return parameters[name]


def _refuse_other_base(wanted: str, base: str, path: str) -> None:
    found = safetensors.from_file(base).digest
    if found != wanted:
        raise FleetError(
            "the adapters were trained on another base",
            variable="weights_dir",
            found=f"{base}: its header has the digest {found[:16]}…",
            expected=f"{wanted[:16]}…, which {path} names",
        )


def stream(model: Module, device: str) -> Module:
    """All on the GPU but the layers, each of which comes for its own forward pass and goes again."""
    layers = list(model.get_submodule(".".join(LAYERS)))
    inside = {id(one) for layer in layers for one in (*layer.parameters(), *layer.buffers())}
    for module in model.modules():
        for kept in (module._parameters, module._buffers):
            for value in kept.values():
                if value is not None and id(value) not in inside:
                    value.data = value.data.to(device)
    for layer in layers:
        layer.register_forward_pre_hook(_Come(device))
        layer.register_forward_hook(_Go())
    return model


class _Come:
    def __init__(self, device: str) -> None:
        self.device = device

    def __call__(self, layer: Module, _given: Any) -> None:
        layer.fleet_home = [(one, one.data) for one in (*layer.parameters(), *layer.buffers())]
        for one, home in layer.fleet_home:
            one.data = home.to(self.device)


class _Go:
    def __call__(self, layer: Module, _given: Any, _made: Any) -> None:
        for one, home in layer.fleet_home:
            one.data = home
        del layer.fleet_home
