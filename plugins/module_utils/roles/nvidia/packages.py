"""Packages and services of NVIDIA's driver, read from files without a package tool."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...system import files, units
from . import openpgp
from .distributions import DRIVER_GLOBS

KEYRINGS = {
    "debian": "/usr/share/keyrings/canvas-fleet-nvidia.gpg",
    "el": "/etc/pki/rpm-gpg/RPM-GPG-KEY-canvas-fleet-nvidia",
}
SOURCES = (
    "etc/apt/sources.list",
    "etc/apt/sources.list.d/*.list",
    "etc/apt/sources.list.d/*.sources",
    "etc/yum.repos.d/*.repo",
)
OWN = "canvas-fleet-nvidia"
OWN_SOURCES = {"debian": f"/etc/apt/sources.list.d/{OWN}.sources", "el": f"/etc/yum.repos.d/{OWN}.repo"}
DISABLED = re.compile(r"^enabled\s*[:=]\s*(no|false|without|off|disable|0)\s*$", re.IGNORECASE | re.MULTILINE)
SERVICES = ("nvidia-persistenced", "nvidia-fabricmanager")
DPKG_STATUS = "/var/lib/dpkg/status"
UPGRADER = "usr/bin/unattended-upgrade"


def read(root: str, path: str) -> str:
    """The file's text, "" when it can't be read."""
    try:
        return files.read(os.path.join(root, path.lstrip("/"))).decode("latin-1")
    except OSError:
        return ""


@dataclass(frozen=True)
class Package:
    version: str  # 580.95.05-1
    held: bool


def installed(root: str = "/") -> dict[str, Package]:
    """The driver's own packages by name, from dpkg's status file."""
    found = {}
    for stanza in read(root, DPKG_STATUS).split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.+)$", stanza, re.MULTILINE))
        name, status = fields.get("Package", ""), fields.get("Status", "").split()
        if status[-1:] == ["installed"] and any(fnmatch.fnmatch(name, pattern) for pattern in DRIVER_GLOBS):
            found[name] = Package(fields.get("Version", ""), status[0] == "hold")
    return found


def upstream(version: str) -> str:
    """1:580.95.05-0ubuntu1 → 580.95.05."""
    return version.split(":", 1)[-1].rsplit("-", 1)[0]


def of_version(packages: Mapping[str, Package], driver: str) -> list[str]:
    """Names of the packages whose version is the driver's own."""
    return sorted(name for name, package in packages.items() if upstream(package.version) == driver)


def foreign_source(root: str, address: str) -> str:
    """The foreign, enabled source file with this address; "" without one."""
    wanted = re.compile(re.escape(address.rstrip("/")) + r"/?(?=\s|$)")
    for path in sorted(path for pattern in SOURCES for path in glob.glob(os.path.join(root, pattern))):
        if OWN not in os.path.basename(path) and any(wanted.search(part) for part in enabled_parts(read("/", path))):
            return "/" + os.path.relpath(path, root)
    return ""


def enabled_parts(text: str) -> list[str]:
    """Enabled stanzas (apt) or sections (dnf), without comments."""
    text = "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))
    border = r"^(?=\[)" if re.search(r"^\[", text, re.MULTILINE) else r"\n\s*\n"
    return [part for part in re.split(border, text, flags=re.MULTILINE) if not DISABLED.search(part)]


def own_source(root: str, family: str) -> str:
    """Our source file, or ""."""
    path = OWN_SOURCES[family]
    return path if os.path.exists(os.path.join(root, path.lstrip("/"))) else ""


def key_fingerprints(root: str, family: str) -> list[str]:
    """Fingerprints of the key file that the role wrote; [] without one."""
    try:
        return openpgp.fingerprints(files.read(os.path.join(root, KEYRINGS[family].lstrip("/"))))
    except (OSError, ValueError):
        return []


def services() -> dict[str, str]:
    """{unit: active, inactive, failed, …}; a unit that is not installed is left out."""
    shown = units.show(("Id", "LoadState", "ActiveState"), *(f"{name}.service" for name in SERVICES))
    here = [values for values in shown if values.get("LoadState") == "loaded"]
    return {values["Id"][: -len(".service")]: values.get("ActiveState", "") for values in here}
