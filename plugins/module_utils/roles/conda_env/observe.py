"""The role conda_env: conda itself, the training environment, and the proof that the trainer's imports work.

Environments cannot be moved, so each is built in a folder of its own, `envs/<name>.<digest>`, and `envs/<name>` is a
link that is switched once the new one is proved. A record inside says what it holds and that it is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...system import files, programs
from ...system.digests import sha256
from .lock import lock_lines, made_for, normalised, pinned

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
    use_existing: bool
    conda_lock: tuple[str, ...] = ()  # URL#sha256:…; () where conda solves by itself
    pip_lock: tuple[str, ...] = ()  # name==version --hash=sha256:…; () where pip does
    lock_python: str = ""  # that the pip part of the lock was made for, as far as it says so
    from_source: bool = False  # flash-attn is built on the host
    compiler: bool = False  # the host shall have one, for what torch compiles while it trains

    @property
    def digest(self) -> str:
        held: list[Any] = [self.python, sorted(self.conda_packages), sorted(self.pip_packages), self.flash_attn]
        locks = [sorted(line.rsplit("/", 1)[-1] for line in self.conda_lock), sorted(self.pip_lock)]
        held += [locks] if any(locks) else []
        held += ["source"] if self.from_source else []
        return sha256(json.dumps(held))

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
        return os.path.join(self.state_dir, f"adopted-{sha256(self.prefix)[:12]}.json")


def wanted(settings: Mapping[str, Any]) -> EnvSpec:
    """From the flat settings, or from a work's spec, which has the same names without the role's prefix."""

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
        use_existing=truth(value("use_existing")),
        conda_lock=lock_lines(value("conda_lock")),
        pip_lock=lock_lines(value("pip_lock")),
        lock_python=made_for(value("pip_lock")),
        from_source=value("flash_attn_from") == "source",
        compiler=truth(value("compiler")),
    )


def truth(value: Any) -> bool:
    return str(value).lower() in ("true", "yes", "1", "on")


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
    return os.path.join(state_dir, "claims", sha256(path)[:16])


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
    own = files.load(os.path.join(want.prefix, RECORD))
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
        "record": own or files.load(want.adoption_record),
        "ours": bool(own),
        "installed": installed(want.prefix),
        "compiler": any(programs.find(name, PROGRAMS) for name in COMPILERS),
    }
