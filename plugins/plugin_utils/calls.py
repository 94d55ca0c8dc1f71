# SPDX-License-Identifier: Apache-2.0
"""Commands as a person types them here: in a checkout the files' names, elsewhere those of the collection."""

from __future__ import annotations

import os
from pathlib import Path

from .quoting import sh


def playbook(verb: str) -> str:
    """As one calls it here: a file of the checkout, or the collection's own name."""
    return next(
        (path for path in (f"{verb}.yml", f"playbooks/{verb}.yml") if os.path.isfile(path)), f"canvas.fleet.{verb}"
    )


def near(path: Path) -> str:
    """The path as one types it here."""
    return os.path.relpath(path) if path.is_relative_to(os.getcwd()) else str(path)


def inventories(given: tuple[str, ...]) -> str:
    """The options of this call, for another one; a list of hosts ("a,b") is no path."""
    named = (one if "," in one else near(Path(one)) for one in given)
    return " ".join(f"-i {sh(one)}" for one in named) or "-i …"
