"""Files of the role nvidia: NVIDIA's repository with its key, and the profile with the CUDA variables."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core.errors import FleetError, raise_for
from ...core.role_plan import RolePlan
from ...core.settings import Settings
from ...core.wire import to_dict
from ...system import files, folders, http, programs, units
from . import decide, observe, openpgp
from . import distributions as table
from .distributions import System
from .judge import fault, fingerprint
from .observe import Observation, Restart, base_url
from .order import Content, WorkOrder
from .packages import KEYRINGS, OWN_SOURCES

MARK = "# Written by canvas-fleet (role nvidia); changes made here are overwritten.\n"
PLACES = (
    OWN_SOURCES["debian"],
    "/etc/apt/preferences.d/canvas-fleet-nvidia",
    OWN_SOURCES["el"],
)
NOUVEAU_PATH = "/etc/modprobe.d/canvas-fleet-nouveau.conf"
NOUVEAU = MARK + "blacklist nouveau\noptions nouveau modeset=0\n"
# Findings that leave nothing to install; all others are the plan's to refuse, and warnings here.
KEY_LIMIT = 1 << 20  # bytes; a key has a few thousand
STOPS = ("NO_GPU", "NVIDIA_DRIVER_BROKEN", "NVIDIA_SYSTEM_UNKNOWN", "VARIABLE_INVALID")


@dataclass(frozen=True)
class File:
    path: str
    data: bytes

    @property
    def current(self) -> bytes | None:
        try:
            return files.read(self.path)
        except FileNotFoundError:
            return None

    def write(self) -> None:
        """In one rename, readable by all."""
        folders.make(os.path.dirname(self.path))
        files.write(self.path, self.data)


def read_url(url: str) -> bytes:
    try:
        return http.read(url, limit=KEY_LIMIT, proxies=apt_proxies())
    except OSError as error:
        raise FleetError(
            "the key of NVIDIA's repository cannot be fetched",
            variable="nvidia_repository_key_url",
            found=f"{url}: {error}",
            remedy="check the network between host and this address, or choose a mirror (nvidia_repository_url)",
        ) from error


def apt_proxies() -> dict[str, str]:
    """apt's proxy, because the key travels like the packages; by default https uses the one of http."""
    if not programs.find("apt-config"):
        return {}
    asked = ("dump", "--format", "%f=%v%n", "Acquire::http::Proxy", "Acquire::https::Proxy")
    shown = programs.run("apt-config", *asked).out
    options = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    http = options.get("Acquire::http::Proxy", "")
    found = {"http": http, "https": options.get("Acquire::https::Proxy") or http}
    return {scheme: proxy for scheme, proxy in found.items() if proxy and proxy != "DIRECT"}


def key(system: System, settings: Settings) -> bytes:
    """The repository's key, from this host if it has it. Raises FleetError unless the fingerprint is right."""
    expected = fingerprint(system, settings)
    here = File(KEYRINGS[system.family], b"").current
    if here is not None and known(here) == [expected]:
        return here
    url = str(settings["nvidia_repository_key_url"] or base_url(system, settings) + system.key)
    found = read_url(url)
    if known(found) != [expected]:
        raise FleetError(
            "the key of NVIDIA's repository has another fingerprint; it was not used",
            variable="nvidia_repository_fingerprint",
            found=f"{url}: {described(found)}",
            expected=openpgp.shown(expected),
            remedy="compare with NVIDIA's announcement of a new key, then set nvidia_repository_fingerprint to it",
        )
    return openpgp.dearmored(found) if system.family == "debian" else found


def known(data: bytes) -> list[str]:
    try:
        return openpgp.fingerprints(data)
    except ValueError:
        return []


def described(data: bytes) -> str:
    """What a file holds, for people."""
    try:
        return ", ".join(map(openpgp.shown, openpgp.fingerprints(data))) or "no OpenPGP key"
    except ValueError as error:
        return str(error)


def repository(system: System, settings: Settings, signed_by: bytes) -> list[File]:
    """Key and source."""
    url, keyring = base_url(system, settings), KEYRINGS[system.family]
    if system.family == "el":
        text = f"{MARK}[canvas-fleet-nvidia]\nname=NVIDIA CUDA\nbaseurl={url}\nenabled=1\ngpgcheck=1\ngpgkey=file://{keyring}\n"
        return [File(keyring, signed_by), File(PLACES[2], text.encode())]
    source = f"{MARK}Types: deb\nURIs: {url}\nSuites: /\nSigned-By: {keyring}\n"
    return [File(keyring, signed_by), File(PLACES[0], source.encode())]


def pins(branch: str) -> File:
    """Prefer NVIDIA's packages; pin our driver to its branch ("" if the driver is not ours)."""
    text = f"{MARK}Package: *\nPin: release l=NVIDIA CUDA\nPin-Priority: 600\n"
    if branch:
        text += f"\nPackage: {' '.join(table.DRIVER_GLOBS)}\nPin: version {branch}.*\nPin-Priority: 1001\n"
    return File(PLACES[1], text.encode())


def repository_files(plan: RolePlan, seen: Observation, settings: Settings, check: bool) -> list[File]:
    """Files that the packages need, for the work to write. A dry run fetches no key."""
    system = table.system(seen.release)
    if not system or not (plan.values.get("packages") or plan.values.get("key")):
        return []
    found = [] if seen.foreign_source else repository(system, settings, b"" if check else key(system, settings))
    if system.family == "debian":
        ours = plan.values.get("driver") or seen.record.packages
        found.append(pins(str(settings["nvidia_driver_branch"]) if ours else ""))
    return found + ([File(NOUVEAU_PATH, NOUVEAU.encode())] if plan.values.get("driver") else [])


def profile(plan: RolePlan, seen: Observation, check: bool) -> list[File]:
    """After the toolkit is installed; a dry run reports both together."""
    text = plan.values.get("profile")
    return [File(observe.PROFILE, text.encode())] if text and (seen.toolkit or check) else []


def mark(plan: RolePlan, seen: Observation, settings: Settings) -> None:
    """Record reason and boot of a restart, so that one that did not help is not repeated."""
    wanted = plan.values.get("restart") and not plan.values.get("driver")
    asked = Restart(seen.boot, fault(seen)) if wanted else None
    if asked != seen.record.restart and (asked or seen.state == "works"):
        remember(str(settings["fleet_state_dir"]), restart=asked)


def remember(state_dir: str, **changes: Any) -> None:
    """Write these into the role's record on the host; an empty record is removed."""
    path = os.path.join(state_dir, observe.RECORD)
    record = replace(observe.record("/", state_dir), **changes)
    kept = {name: value for name, value in to_dict(record).items() if value}
    if kept:
        File(path, json.dumps({"written_by": "canvas.fleet, role nvidia", **kept}, indent=1).encode()).write()
    else:
        files.remove(path)


def exchanged(packages: Sequence[str]) -> list[str]:
    """Packages that affect running programs; those of the toolkit do not."""
    return [name for name in packages if not name.startswith("cuda-toolkit-")]


def trainings() -> list[str]:
    """Units of trainings that run on this host."""
    words = ("list-units", "--plain", "--no-legend", "--state=active,activating", "canvas-training-*")
    shown = units.systemctl(*words).out
    return [line.split()[0] for line in shown.splitlines() if line.split()]


def converge(settings: Settings, check: bool) -> dict[str, Any]:
    """Observe, decide, write. Returns the rest for the work (packages with their repository) and for a restart.

    Raises FleetError for problems that a person must solve; a restart that is needed is a warning here, since the start
    of a
    training is refused without it anyway.
    """
    seen = observe.observe(settings)
    plan = decide.decide(seen, settings, None)
    raise_for(plan.findings, STOPS)
    changed = [file for file in profile(plan, seen, check) if file.current != file.data]
    later = [file for file in repository_files(plan, seen, settings, check) if file.current != file.data]
    diffs = [difference(file) for file in (*changed, *later)]
    if not check:
        for file in changed:
            file.write()
        mark(plan, seen, settings)
    running = trainings()
    restart = bool(plan.values.get("restart")) and not running
    warnings = [f"{found.found}: {found.because}" for found in plan.findings if found.severity != "note"]
    if plan.values.get("restart") and running:
        warnings.append(f"the restart waits: {', '.join(running)} runs")
    if exchanged(plan.values.get("packages", [])) and running:
        warnings.append(f"the installation of the driver waits: {', '.join(running)} runs")
    order = work_order(plan, seen, settings, later)
    return {
        "changed": bool(changed) or (check and order.wanted),
        "diff": diffs,
        "state": seen.state,
        "detail": plan.summary or seen.detail,
        "reasons": list(plan.reasons),
        "packages": list(order.packages),
        "work": to_dict(order),
        "restart": restart and settings["nvidia_reboot"] != "never",
        "warnings": warnings,
    }


def work_order(plan: RolePlan, seen: Observation, settings: Settings, later: list[File]) -> WorkOrder:
    values, family = plan.values, getattr(table.system(seen.release), "family", "")
    order = WorkOrder(
        family=family,
        source=seen.foreign_source or (PLACES[2] if family == "el" else PLACES[0]),
        branch=settings["nvidia_driver_branch"],
        packages=tuple(values.get("packages", ())),
        remove=tuple(values.get("remove", ())),
        files=tuple(Content(file.path, base64.b64encode(file.data).decode()) for file in later),
        driver_version=values.get("driver_version", ""),
        services=tuple(values.get("services", ())),
        hold=tuple(values.get("hold", ())),
        hold_new=settings["nvidia_hold"] and bool(values.get("driver") or seen.record.packages),
        state_dir=settings["fleet_state_dir"],
    )
    return replace(order, wanted=any((order.packages, order.files, order.services, order.hold, order.remove)))


def difference(file: File) -> dict[str, str]:
    """For --diff; a binary key is named, not shown."""
    if file.path in KEYRINGS.values():
        return {"before_header": file.path, "after_header": file.path, "before": "", "after": "(a key)\n"}
    before = (file.current or b"").decode(errors="replace")
    return {"before_header": file.path, "after_header": file.path, "before": before, "after": file.data.decode()}
