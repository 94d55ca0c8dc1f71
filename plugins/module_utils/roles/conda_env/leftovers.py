"""Leftovers. The role removes its environment itself (absent.py), before teardown is called."""

from __future__ import annotations

import os

from ...core.settings import Settings, named
from . import absent, tools
from .observe import ADOPTED

RECORDS: tuple[str, ...] = ("wheelhouse", ADOPTED)


def to_take_back(settings: Settings) -> bool:
    """True when the role itself must run first."""
    return bool(absent.preview(spec(settings)))


def folders(settings: Settings) -> tuple[str, ...]:
    return (str(settings["conda_env_state_dir"]),)


def root_of_the_user(settings: Settings) -> list[str]:
    """The folder of a conda that stays."""
    root = str(settings["conda_env_root"])
    return [root] if os.path.isdir(root) and not absent.root_is_ours(spec(settings)) else []


def not_looked_into(settings: Settings) -> list[str]:
    """Folders that are not searched for edits by hand: conda, and environments of the role."""
    return [str(settings["conda_env_root"]), *tools.builds(str(settings["conda_env_prefix"]))]


def spec(settings: Settings) -> dict[str, str]:
    """The spec for absent.py."""
    return {name: str(named(settings, f"conda_env_{name}")) for name in ("root", "prefix", "state_dir")}
