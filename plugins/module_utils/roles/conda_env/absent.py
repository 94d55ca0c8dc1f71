"""Remove the environment: our builds, the link, our conda, downloads and records."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...core.errors import FleetError
from ...system import files, folders
from . import tools
from .observe import RECORD, listed

OURS = "conda.json"  # in the state folder: the root that we installed


def remember(state_dir: str, root: str) -> None:
    """Record that conda at this root is ours. Written while the root is marked, so an interruption here installs it
    again."""
    files.save(os.path.join(state_dir, OURS), {"written_by": "canvas.fleet, role conda_env", "root": root})


def root_is_ours(spec: Mapping[str, Any]) -> bool:
    """True for a conda of the role without foreign environments."""
    root, prefix = str(spec["root"]), str(spec["prefix"])
    if files.load(os.path.join(str(spec["state_dir"]), OURS)).get("root") != root:
        return False
    own = {os.path.basename(path) for path in (*tools.builds(prefix), prefix)}
    others = set(listed(os.path.join(root, "envs"))) - own
    return not {name for name in others if not name.startswith(".")}


def preview(spec: Mapping[str, Any]) -> list[str]:
    """What would be removed; changes nothing."""
    prefix, state_dir = str(spec["prefix"]), str(spec["state_dir"])
    steps = [f"remove {path}" for path in tools.builds(prefix)]
    if os.path.islink(prefix) and (steps or not os.path.exists(prefix)):
        steps.append(f"remove the link {prefix}")
    if root_is_ours(spec) and os.path.isdir(str(spec["root"])):
        steps.append(f"remove conda at {spec['root']}")
    return steps + [f"remove {os.path.join(state_dir, name)}" for name in listed(state_dir)]


def work(spec: Mapping[str, Any]) -> dict[str, Any]:
    """`spec`: root, prefix, state_dir. The next call continues an interrupted one. Raises FleetError while the
    environment is in use."""
    root, prefix, state_dir = (str(spec[name]) for name in ("root", "prefix", "state_dir"))
    steps = preview(spec)
    if not steps:
        return {"changed": False, "done": []}
    folders.make(os.path.join(state_dir, "claims"))
    tools.remove_unfinished(state_dir, keep="")  # what an earlier call left half removed
    builds, ours = tools.builds(prefix), root_is_ours(spec)
    busy = [path for path in (*builds, *([root] if ours else [])) if tools.in_use(path)]
    if busy:
        raise FleetError(
            "a running program uses the environment",
            found=", ".join(busy),
            remedy="stop the training first (playbooks/stop.yml)",
        )
    for path in builds:
        remove_build(state_dir, path)
    if os.path.islink(prefix) and not os.path.exists(prefix):
        files.remove(prefix)
    if ours:
        remove_build(state_dir, root)
    for name in listed(state_dir):
        folders.remove_tree(os.path.join(state_dir, name))
    return {"changed": bool(steps), "done": steps}


def remove_build(state_dir: str, path: str) -> None:
    """Mark it first, so the next call removes the rest after an interruption."""
    if os.path.isdir(path):
        tools.mark_unfinished(state_dir, path)
        files.remove(os.path.join(path, RECORD))
        folders.remove_tree(path)
        tools.unmark(state_dir, path)
