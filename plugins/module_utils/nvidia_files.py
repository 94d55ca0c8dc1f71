"""What the role nvidia writes by itself: NVIDIA's repository with its key, and the profile of the CUDA variables."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils import cuda_table, nvidia, openpgp
from ansible_collections.canvas.fleet.plugins.module_utils.cuda_table import System
from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.room import RoomPlan

MARK = "# Written by canvas-fleet (role nvidia); changes made here are overwritten.\n"
KEYRINGS = {
    "debian": "/usr/share/keyrings/canvas-fleet-nvidia.gpg",
    "el": "/etc/pki/rpm-gpg/RPM-GPG-KEY-canvas-fleet-nvidia",
}
NOUVEAU = MARK + "blacklist nouveau\noptions nouveau modeset=0\n"


@dataclass(frozen=True)
class File:
    path: str
    data: bytes

    @property
    def current(self) -> bytes | None:
        try:
            with open(self.path, "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def write(self) -> None:
        """In one rename, readable by all."""
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        aside = self.path + ".canvas-fleet-new"
        with open(aside, "wb") as out:
            out.write(self.data)
        os.chmod(aside, 0o644)
        os.replace(aside, self.path)


def read_url(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - the user's own URL, checked by fingerprint
            data: bytes = answer.read()
    except OSError as error:
        raise FleetError(
            "the key of NVIDIA's repository can't be had",
            variable="nvidia_repository_key_url",
            found=f"{url}: {error}",
            remedy="check the host's way to this address, or name a mirror (nvidia_repository_url)",
        ) from error
    return data


def base_url(system: System, settings: Mapping[str, Any]) -> str:
    return f"{str(settings['nvidia_repository_url']).rstrip('/')}/{system.name}/x86_64/"


def key(system: System, settings: Mapping[str, Any]) -> bytes:
    """The repository's key, from this host when it is here. Raises FleetError unless its fingerprint is right."""
    expected = str(settings["nvidia_repository_fingerprint"] or system.fingerprint).replace(" ", "").upper()
    here = File(KEYRINGS[system.family], b"").current
    if here is not None and expected in known(here):
        return here
    url = str(settings["nvidia_repository_key_url"] or base_url(system, settings) + system.key)
    found = read_url(url)
    if known(found) != [expected]:
        raise FleetError(
            "the key of NVIDIA's repository is not the one that was meant; nothing of it was trusted",
            variable="nvidia_repository_fingerprint",
            found=f"{url}: {', '.join(known(found)) or 'no OpenPGP key'}",
            expected=expected,
            remedy="compare with NVIDIA's announcement of a new key, then set the fingerprint",
        )
    return openpgp.dearmored(found) if system.family == "debian" else found


def known(data: bytes) -> list[str]:
    try:
        return openpgp.fingerprints(data)
    except ValueError:
        return []


def repository(system: System, settings: Mapping[str, Any], signed_by: bytes) -> list[File]:
    """Key, source and, on Debian's family, the pin of NVIDIA's own: its packages before the distribution's."""
    url, keyring = base_url(system, settings), KEYRINGS[system.family]
    if system.family == "el":
        text = f"{MARK}[canvas-fleet-nvidia]\nname=NVIDIA CUDA\nbaseurl={url}\nenabled=1\ngpgcheck=1\ngpgkey=file://{keyring}\n"
        return [File(keyring, signed_by), File("/etc/yum.repos.d/canvas-fleet-nvidia.repo", text.encode())]
    source = f"{MARK}Types: deb\nURIs: {url}\nSuites: /\nSigned-By: {keyring}\n"
    pin = f"{MARK}Package: *\nPin: release l=NVIDIA CUDA\nPin-Priority: 600\n"
    return [
        File(keyring, signed_by),
        File("/etc/apt/sources.list.d/canvas-fleet-nvidia.sources", source.encode()),
        File("/etc/apt/preferences.d/canvas-fleet-nvidia", pin.encode()),
    ]


def wanted(plan: RoomPlan, seen: Mapping[str, Any], settings: Mapping[str, Any], check: bool) -> list[File]:
    """All files that the plan needs. A dry run asks nobody for a key."""
    files = []
    system = cuda_table.system(seen["release"])
    if plan.values.get("packages") and system:
        files += repository(system, settings, b"" if check else key(system, settings))
    if any(name.startswith(("nvidia-", "cuda-drivers", "@nvidia")) for name in plan.values.get("packages", ())):
        files.append(File("/etc/modprobe.d/canvas-fleet-nouveau.conf", NOUVEAU.encode()))
    if plan.values.get("profile"):
        files.append(File(nvidia.PROFILE, plan.values["profile"].encode()))
    return files


def trainings() -> list[str]:
    """Units of trainings that run on this host."""
    argv = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating", "canvas-training-*"]
    try:
        shown = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return []
    return [line.split()[0] for line in shown.splitlines() if line.split()]


def converge(settings: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Observe, decide, write. Returns what is left for the package manager and for a restart.

    Raises FleetError for what a person has to mend; a restart that is needed is a warning here, since the start of a
    training is refused without it anyway.
    """
    seen = nvidia.observe(settings)
    plan = nvidia.decide(seen, settings, None)
    errors = [found for found in plan.findings if found.severity == "error" and found.code != "NVIDIA_REBOOT_NEEDED"]
    if errors:
        first = errors[0]
        raise FleetError(
            f"{first.code}: {first.because}",
            variable=first.variable,
            found=first.found,
            expected=first.expected,
            remedy=first.remedy,
        )
    changed = [file for file in wanted(plan, seen, settings, check) if file.current != file.data]
    diffs = [difference(file) for file in changed]
    if not check:
        for file in changed:
            file.write()
    packages, running = list(plan.values.get("packages", [])), trainings()
    restart = bool(plan.values.get("restart")) and not running
    warnings = [f"{found.found}: {found.because}" for found in plan.findings]
    if plan.values.get("restart") and running:
        warnings.append(f"a restart is needed and not made: {', '.join(running)} runs")
    return {
        "changed": bool(changed) or (check and bool(packages)),
        "diff": diffs,
        "state": seen["state"],
        "detail": plan.summary or seen["detail"],
        "reasons": list(plan.reasons),
        "packages": packages,
        "install": [] if check else packages,
        "family": getattr(cuda_table.system(seen["release"]), "family", ""),
        "restart": restart and settings["nvidia_reboot"] == "when_needed",
        "warnings": warnings,
    }


def difference(file: File) -> dict[str, str]:
    """For --diff; a binary key is named, not shown."""
    if file.path in KEYRINGS.values():
        return {"before_header": file.path, "after_header": file.path, "before": "", "after": "(a key)\n"}
    before = (file.current or b"").decode(errors="replace")
    return {"before_header": file.path, "after_header": file.path, "before": before, "after": file.data.decode()}
