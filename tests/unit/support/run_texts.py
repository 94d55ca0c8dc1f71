"""What run_config writes, from the role's own templates, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config import apply, script
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config.decide import decide as run_config_decide
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config.texts import Texts
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import registration
from ansible_collections.canvas.fleet.plugins.plugin_utils.render import Templates

FILL = Templates()
decide = partial(run_config_decide, fill=FILL)


def texts(settings: Mapping[str, Any], topology: Topology) -> Texts:
    return script.texts(settings, topology, FILL)


def converge(settings: Mapping[str, Any], topology: Topology, key: str, *, check: bool = False) -> dict[str, Any]:
    return apply.converge(settings, texts(settings, topology), key, check=check)


def argv(settings: Mapping[str, Any], topology: Topology) -> list[str]:
    """The whole command as a list, as a process gets it."""
    told = script.values(settings, topology)
    options = [f"--{name}={told[name]}" for name in script.TORCHRUN]
    words = ["torchrun", *options, "-m", "train.pretrain_unified_navit"]
    for name, value in script.flags(settings, topology).items():
        words += [f"--{name}", value]
    return words


def register(source: bytes, group: str, name: str, entry: Mapping[str, Any]) -> bytes:
    """registration.register() with the block of the template."""
    places = {"dataset_train_dir": entry["data_dir"], "dataset_info_path": entry["parquet_info_path"]}
    told = {"dataset_name": name, "rows": registration.ROWS, **places}
    return registration.register(source, group, name, entry, FILL("run_config", "dataset_info.py.j2", told))
