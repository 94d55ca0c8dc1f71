"""The role conda_env: conda, the training environment, and the test of the trainer's imports.

Environments cannot be moved, so each is built in a folder of its own, `envs/<name>.<digest>`, and `envs/<name>` is a
link that is switched once the new one is proved. A record inside says what it holds and that it is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...core.wire import from_record
from ...system import files, folders
from ...system.digests import sha256
from ...trainer.environment import Script
from .lock import lock_lines, made_for, normalised, pins_of

Kind = Literal["absent", "link", "broken_link", "folder", "file"]
PREFIX = "conda_env_"
BITS = "bitsandbytes"  # the module of run_config_optimizer: adamw_8bit
RECORD = ".canvas-fleet.json"
ADOPTED = "adopted"  # root's folder in fleet_state_dir
PARTS = ("digest", "python", "versions", "imports", "torch", "script")


@dataclass(frozen=True)
class Root:
    """The folder of conda. `half`: making or removing it was interrupted."""

    kind: Kind = "absent"
    conda: str = ""  # its version
    empty: bool = True
    half: bool = False


@dataclass(frozen=True)
class Prefix:
    """The environment's name: a link to a build, or what stands in its place."""

    kind: Kind = "absent"
    target: str = ""
    python_runs: bool = False
    python: str = ""  # its version


@dataclass(frozen=True)
class Record:
    """The result of testing an environment."""

    digest: str = ""
    python: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)  # by normalised name
    imports: tuple[str, ...] = ()
    torch_cuda: str = ""  # the CUDA version that torch is built for
    script: str = ""  # digest of the script's environment; "" in records of 0.1

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Record | None:
        """Read from the record; None for an unusable one."""
        if not kept:
            return None
        imports, torch = kept.get("imports"), kept.get("torch")
        cuda = torch.get("cuda") if isinstance(torch, dict) else ""
        lines = {"imports": list(imports) if isinstance(imports, dict) else imports or [], "torch_cuda": cuda or ""}
        return from_record(cls, {**kept, **lines})


@dataclass(frozen=True)
class Observation:
    root: Root = field(default_factory=Root)
    prefix: Prefix = field(default_factory=Prefix)
    record: Record | None = None
    ours: bool = False  # the record lies in the environment
    installed: Mapping[str, str] = field(default_factory=dict)  # version by normalised name


@dataclass(frozen=True)
class EnvSpec:
    """The wanted environment. `digest` covers its content, not the sources."""

    root: str
    prefix: str
    state_dir: str
    records: str  # fleet_state_dir
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
    flex: bool = False  # the proof compiles flex attention, where there is a GPU
    script: Script = field(default_factory=Script)  # in whose environment the imports are proved

    @property
    def digest(self) -> str:
        held: list[Any] = [self.python, sorted(self.conda_packages), sorted(self.pip_packages), self.flash_attn]
        locks = [sorted(line.rsplit("/", 1)[-1] for line in self.conda_lock), sorted(self.pip_lock)]
        held += [locks] if any(locks) else []
        held += ["source"] if self.from_source else []
        return sha256(json.dumps(held))

    @property
    def asked(self) -> dict[str, str]:
        """Version by normalised name, for packages with an exact pin."""
        return pins_of(self.pip_packages)

    @property
    def pins(self) -> dict[str, str]:
        """Version by normalised name, for packages whose version is known in advance."""
        pins = {**self.asked, **pins_of(line.split(" ")[0] for line in self.pip_lock)}
        return {**pins, **({"flash-attn": self.flash_attn} if self.flash_attn else {})}

    @property
    def adoption_record(self) -> str:
        """Record of a test of a foreign environment: in our folder, never in theirs. Root's own is what counts."""
        return str(record_path({"fleet_state_dir": self.records, "prefix": self.prefix}))


def wanted(settings: Mapping[str, Any]) -> EnvSpec:
    """Made from the settings, or from a work's spec, which has the same names without prefix."""

    def value(name: str) -> Any:
        return settings[PREFIX + name] if PREFIX + name in settings else settings[name]

    return EnvSpec(
        root=str(value("root")).rstrip("/"),
        prefix=str(value("prefix")).rstrip("/"),
        state_dir=str(value("state_dir")),
        records=str(settings["fleet_state_dir"]),
        python=str(value("python")),
        conda_packages=tuple(str(item) for item in value("conda_packages")),
        pip_packages=tuple(str(item) for item in value("pip_packages")),
        flash_attn="" if value("flash_attn_from") == "none" else str(value("flash_attn") or ""),
        imports=(*(str(item) for item in value("imports")), *_of_optimizer(settings)),
        use_existing=truth(value("use_existing")),
        conda_lock=lock_lines(value("conda_lock")),
        pip_lock=lock_lines(value("pip_lock")),
        lock_python=made_for(value("pip_lock")),
        from_source=value("flash_attn_from") == "source",
        flex=truth(settings["run_config_use_flex"]),
        script=Script.of(settings),
    )


def _of_optimizer(settings: Mapping[str, Any]) -> tuple[str, ...]:
    return (BITS,) if settings.get("run_config_optimizer") == "adamw_8bit" else ()


def truth(value: Any) -> bool:
    return str(value).lower() in ("true", "yes", "1", "on")


def listed(folder: str) -> list[str]:
    try:
        return folders.names(folder)
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
            stem, dot, _mark = name.rpartition(".dist-info")
            distribution, _mark, version = stem.rpartition("-")
            if dot and distribution:
                found[normalised(distribution)] = version
    return found


def unfinished_mark(state_dir: str, path: str) -> str:
    """The mark of a folder that we make or remove; after an interruption it may be removed."""
    return os.path.join(state_dir, "claims", sha256(path)[:16])


def kind_of(path: str) -> Kind:
    if os.path.islink(path):
        return "link" if os.path.isdir(path) else "broken_link"
    if os.path.isdir(path):
        return "folder"
    return "file" if os.path.lexists(path) else "absent"


def observe(settings: Mapping[str, Any]) -> Observation:
    """Reads only names and two small files. Starts neither conda nor the environment's Python."""
    want = wanted(settings)
    return Observation(
        root=Root(
            kind_of(want.root),
            conda_version(want.root),
            empty=not listed(want.root),
            half=os.path.exists(unfinished_mark(want.state_dir, want.root)),
        ),
        prefix=Prefix(
            kind_of(want.prefix),
            os.path.realpath(want.prefix),
            python_runs(want.prefix),
            conda_version(want.prefix, "python"),
        ),
        record=Record.of(recorded(want)),
        ours=bool(files.load(os.path.join(want.prefix, RECORD))),
        installed=installed(want.prefix),
    )


def record_path(spec: Mapping[str, Any]) -> Path:
    """Of a test of this prefix, by a work's spec."""
    return Path(spec["fleet_state_dir"], ADOPTED, f"{sha256(str(spec['prefix']).rstrip('/'))[:12]}.json")


def sound(_spec: Mapping[str, Any], hint: Mapping[str, Any]) -> dict[str, Any]:
    """The declared parts of a record that an account wrote; {} for an unusable one."""
    declared = {name: hint[name] for name in PARTS if name in hint}
    torch = declared.get("torch")
    flat = not torch or (isinstance(torch, dict) and all(isinstance(one, (str, int, float)) for one in torch.values()))
    return declared if flat and Record.of(declared) else {}


def recorded(want: EnvSpec) -> dict[str, Any]:
    """The record of the environment, own or foreign; {} without one."""
    return files.load(os.path.join(want.prefix, RECORD)) or files.load(want.adoption_record)


def python_runs(prefix: str) -> bool:
    python = os.path.join(prefix, "bin", "python")
    return os.access(python, os.X_OK) and os.path.isfile(python)
