"""Work as root: packages of the distribution that another role needs on the host, such as a C compiler."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from ...core.errors import FleetError
from ...core.progress import Progress
from . import observe
from . import work as fleet_agent_work


def missing(spec: Mapping[str, Any]) -> list[str]:
    """Packages for this host's package manager; none where one of the programs `unless` is there already."""
    if any(shutil.which(name) for name in spec.get("unless") or []):
        return []
    manager = observe.package_manager()
    if not manager:
        raise FleetError("no package manager that is known here", found="neither apt-get nor dnf")
    return list(observe.missing_packages(manager, spec[manager]))


def preview(spec: Mapping[str, Any]) -> list[str]:
    """What work() would do on this host; reads only."""
    names = missing(spec)
    return [f"install {', '.join(names)}"] if names else []


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """`spec`: apt, dnf (names), unless (programs). Returns changed and installed. A cut is mended by the next call."""
    names = missing(spec)
    if names:
        fleet_agent_work.install(observe.package_manager(), names, progress)
    return {"changed": bool(names), "installed": names}
