"""Ansible's own way to find the collection, for tests that run no play."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ansible.plugins.loader import init_plugin_loader


@cache
def install() -> None:
    """To be called before anything of the collection is imported: Ansible finds no plugin in what Python imported."""
    init_plugin_loader([str(Path(__file__).resolve().parents[1] / "collections")])
