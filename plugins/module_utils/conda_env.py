"""The room conda_env: conda itself, the training environment, and the proof that the trainer's imports work.

Environments cannot be moved, so each is built in a folder of its own, `envs/<name>.<digest>`, and `envs/<name>` is a
link that is switched once the new one is proved. A record inside says what it holds and that it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.conda_lock import (
    lock_lines,
    normalised,
    pinned,
    same_version,
    shortened,
    stale,
)
from ansible_collections.canvas.fleet.plugins.module_utils.findings import Finding, finding
from ansible_collections.canvas.fleet.plugins.module_utils.room import RoomPlan, RunShape

PREFIX = "conda_env_"
RECORD = ".canvas-fleet.json"
COMPILERS = ("cc", "gcc", "clang")
PROGRAMS = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class EnvSpec:
    """What is wanted. `digest` covers what the environment holds, not where its parts are fetched from."""

    root: str
    prefix: str
    state_dir: str
    python: str
    conda_packages: tuple[str, ...]
    pip_packages: tuple[str, ...]
    flash_attn: str  # version, "" for none
    imports: tuple[str, ...]
    adopt: bool
    conda_lock: tuple[str, ...] = ()  # URL#sha256:…; () where conda solves by itself
    pip_lock: tuple[str, ...] = ()  # name==version --hash=sha256:…; () where pip does
    from_source: bool = False  # flash-attn is built on the host
    compiler: bool = False  # the host shall have one, for what torch compiles while it trains

    @property
    def digest(self) -> str:
        held: list[Any] = [self.python, sorted(self.conda_packages), sorted(self.pip_packages), self.flash_attn]
        locks = [sorted(line.rsplit("/", 1)[-1] for line in self.conda_lock), sorted(self.pip_lock)]
        held += [locks] if any(locks) else []
        held += ["source"] if self.from_source else []
        return hashlib.sha256(json.dumps(held).encode()).hexdigest()

    @property
    def asked(self) -> dict[str, str]:
        """Version by normalised name, of every package that is pinned exactly by the user."""
        return pinned(self.pip_packages)

    @property
    def pins(self) -> dict[str, str]:
        """Version by normalised name, of every package whose version is known beforehand."""
        pins = {**self.asked, **pinned(line.split(" ")[0] for line in self.pip_lock)}
        return {**pins, **({"flash-attn": self.flash_attn} if self.flash_attn else {})}

    @property
    def adoption_record(self) -> str:
        """Where the proof of a user's own environment is kept: beside our things, never inside theirs."""
        return os.path.join(self.state_dir, f"adopted-{hashlib.sha256(self.prefix.encode()).hexdigest()[:12]}.json")


def wanted(settings: Mapping[str, Any]) -> EnvSpec:
    """From the flat settings, or from a work's spec, which has the same names without the room's prefix."""

    def value(name: str) -> Any:
        return settings[PREFIX + name] if PREFIX + name in settings else settings[name]

    return EnvSpec(
        root=str(value("root")).rstrip("/"),
        prefix=str(value("prefix")).rstrip("/"),
        state_dir=str(value("state_dir")),
        python=str(value("python")),
        conda_packages=tuple(str(item) for item in value("conda_packages")),
        pip_packages=tuple(str(item) for item in value("pip_packages")),
        flash_attn="" if value("flash_attn_from") == "none" else str(value("flash_attn") or ""),
        imports=tuple(str(item) for item in value("imports")),
        adopt=truth(value("adopt")),
        conda_lock=lock_lines(value("conda_lock")),
        pip_lock=lock_lines(value("pip_lock")),
        from_source=value("flash_attn_from") == "source",
        compiler=truth(value("compiler")),
    )


def truth(value: Any) -> bool:
    return str(value).lower() in ("true", "yes", "1", "on")


def read_json(path: str) -> dict[str, Any]:
    """The mapping in a file; {} when it is absent or no mapping."""
    try:
        with open(path, encoding="utf-8") as stream:
            loaded = json.load(stream)
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def conda_version(root: str, package: str = "conda") -> str:
    """Version of a conda package in a prefix, from its metadata's name; "" when it is not there."""
    for name in listed(os.path.join(root, "conda-meta")):
        parts = name[: -len(".json")].rsplit("-", 2) if name.endswith(".json") else []
        if len(parts) == 3 and parts[0] == package:
            return parts[1]
    return ""


def installed(prefix: str) -> dict[str, str]:
    """Version by normalised name of the distributions in an environment, from the names of their metadata folders."""
    found = {}
    for python in (name for name in listed(os.path.join(prefix, "lib")) if name.startswith("python3")):
        for name in listed(os.path.join(prefix, "lib", python, "site-packages")):
            stem, dot, _ = name.rpartition(".dist-info")
            distribution, _, version = stem.rpartition("-")
            if dot and distribution:
                found[normalised(distribution)] = version
    return found


def claim_of(state_dir: str, path: str) -> str:
    """The file that says: this folder is being made (or removed) by us, and may be removed when that was cut off."""
    return os.path.join(state_dir, "claims", hashlib.sha256(path.encode()).hexdigest()[:16])


def kind_of(path: str) -> str:
    """absent, link, broken_link, folder or file."""
    if os.path.islink(path):
        return "link" if os.path.isdir(path) else "broken_link"
    if os.path.isdir(path):
        return "folder"
    return "file" if os.path.lexists(path) else "absent"


def observe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Reads only names and two small files: no conda and no Python of the environment is started."""
    want = wanted(settings)
    python = os.path.join(want.prefix, "bin", "python")
    own = read_json(os.path.join(want.prefix, RECORD))
    return {
        "root": {
            "kind": kind_of(want.root),
            "conda": conda_version(want.root),
            "empty": not listed(want.root),
            "half": os.path.exists(claim_of(want.state_dir, want.root)),
        },
        "prefix": {
            "kind": kind_of(want.prefix),
            "target": os.path.realpath(want.prefix),
            "python_runs": os.access(python, os.X_OK) and os.path.isfile(python),
            "python": conda_version(want.prefix, "python"),
        },
        "record": own or read_json(want.adoption_record),
        "ours": bool(own),
        "installed": installed(want.prefix),
        "compiler": any(shutil.which(name, path=PROGRAMS) for name in COMPILERS),
    }


def decide(seen: Mapping[str, Any], settings: Mapping[str, Any], shape: RunShape) -> RoomPlan:
    """Reasons to build, to prove or to refuse. Pure."""
    want = wanted(settings)
    refused = refusals(seen, want)
    if refused:
        return RoomPlan(reasons=("something of the user's is in the way",), findings=tuple(refused))
    old = stale_lock(want)
    if old:
        return RoomPlan(reasons=("the lock is not one of these packages",), findings=tuple(old))
    reasons = differences(seen, want)
    if want.compiler and not seen["compiler"]:
        reasons.append("no C compiler, which flex attention needs at run time")
    values = {"digest": want.digest, "prefix": want.prefix}
    if reasons:
        return RoomPlan(reasons=tuple(reasons), values=values)
    versions = seen["record"]["versions"]
    torch = f", torch {versions['torch']}" if "torch" in versions else ""
    summary = f"python {seen['record']['python']}, {len(versions)} packages{torch}, {len(want.imports)} imports proved"
    return RoomPlan(values=values, summary=summary)


def refusals(seen: Mapping[str, Any], want: EnvSpec) -> list[Finding]:
    """What stands where ours should, and is the user's."""
    found = []
    root, prefix = seen["root"], seen["prefix"]
    if root["kind"] in ("file", "broken_link"):
        found.append(finding("PATH_IS_A_FILE", found=want.root, expected="a folder", variable="conda_env_root"))
    elif not (root["kind"] == "absent" or root["conda"] or root["empty"] or root["half"] or want.adopt):
        found.append(
            finding(
                "CONDA_ROOT_FOREIGN",
                variable="conda_env_root",
                found=f"{want.root} holds files, but no conda",
                expected="an empty or absent folder, or one with a conda in it",
            )
        )
    if prefix["kind"] == "file":
        found.append(finding("PATH_IS_A_FILE", found=want.prefix, expected="a folder", variable="conda_env_prefix"))
    elif prefix["kind"] in ("folder", "link") and not seen["ours"] and not want.adopt:
        found.append(
            finding(
                "CONDA_ENV_FOREIGN",
                variable="conda_env_name",
                found=f"{want.prefix}, which canvas-fleet did not make",
                expected="nothing, or an environment that canvas-fleet made",
            )
        )
    return found


def stale_lock(want: EnvSpec) -> list[Finding]:
    """Packages that were asked for in a version that the lock does not hold."""
    wrong = [] if want.adopt else stale(want.pip_lock, want.pip_packages)
    if not wrong:
        return []
    found = f"the lock has {shortened(wrong)}"
    expected = "the versions of conda_env_pip_packages"
    return [finding("CONDA_LOCK_STALE", variable="conda_env_lock", found=found, expected=expected)]


def differences(seen: Mapping[str, Any], want: EnvSpec) -> list[str]:
    """Sentences; empty when the environment is what is wanted, whole and proved."""
    prefix, record = seen["prefix"], seen["record"]
    adopted = want.adopt and not seen["ours"] and prefix["kind"] in ("folder", "link")
    if not adopted and prefix["kind"] in ("absent", "broken_link"):
        without = "" if seen["root"]["conda"] else f"no conda at {want.root}; "
        return [f"{without}environment {os.path.basename(want.prefix)} does not exist"]
    if not prefix["python_runs"]:
        return [f"no python in {want.prefix}"]
    if not record:
        return ["the imports were never proved"]
    found = [] if adopted else contents(seen, want)
    changed = [
        f"{name} {seen['installed'].get(name, 'missing')} instead of {version} (changed by hand)"
        for name, version in record["versions"].items()
        if seen["installed"].get(name) != version and name not in want.pins
    ]
    unproved = [module for module in want.imports if module not in record["imports"]]
    if unproved:
        found.append("not proved to import: " + shortened(unproved))
    return found + ([shortened(changed)] if changed else [])


def contents(seen: Mapping[str, Any], want: EnvSpec) -> list[str]:
    """What is in the environment against what was asked for."""
    found = []
    have_python = seen["record"]["python"]
    if not (have_python + ".").startswith(want.python + "."):
        found.append(f"python {have_python} instead of {want.python}")
    have = seen["installed"]
    wrong = [
        f"{name} {have[name]} instead of {pin}" if name in have else f"{name} {pin} is missing"
        for name, pin in want.pins.items()
        if name not in have or not same_version(have[name], pin)
    ]
    if wrong:
        found.append(shortened(wrong))
    if not found and seen["record"]["digest"] != want.digest:
        found.append("the list of packages changed")
    return found
