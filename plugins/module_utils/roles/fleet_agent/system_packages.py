"""Work as root: packages of the distribution that another role needs on the host, such as a C compiler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.progress import Progress
from ...system import packages, programs


def missing(spec: Mapping[str, Any]) -> list[str]:
    """Packages for this host's package manager; none where one of the programs `unless` is there already."""
    if any(programs.find(name) for name in spec.get("unless") or []):
        return []
    return packages.missing({name: spec.get(name, ()) for name in ("apt", "dnf")})


def preview(spec: Mapping[str, Any]) -> list[str]:
    """What work() would do on this host; reads only."""
    names = missing(spec)
    return [f"install {', '.join(names)}"] if names else []


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """`spec`: apt, dnf (names), unless (programs). Returns changed and installed. A cut is mended by the next call."""
    names = missing(spec)
    if names:
        packages.install(names, progress)
    return {"changed": bool(names), "installed": names}
