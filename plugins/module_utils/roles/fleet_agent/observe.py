"""The role fleet_agent: account, folders, system packages, trusted certificates, and the agent's Python environment.

The agent environment runs the work of the other roles (the hub's client, pyarrow, pillow). It lies in a folder of its
own beside the others, `<fleet_agent_dir>.d/<digest of its pins>`; `fleet_agent_dir` is a link that is switched in one
step when an environment is whole.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ...core.settings import Settings, named
from ...system import files, folders, packages
from ...system.digests import sha256
from . import readers
from .readers import Readers

C = {"apt": ("gcc", "libc6-dev"), "dnf": ("gcc", "glibc-devel")}
CXX = {"apt": ("g++",), "dnf": ("gcc-c++",)}
IMPORTS = ("huggingface_hub", "pyarrow.parquet", "PIL.Image")
OF_ROOT = ("canvas_code", "incoming", "secrets", "supervisor", "training", "wheelhouse", "work")  # in fleet_state_dir
STORES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


VERSION = re.compile(r"^version\s*=\s*(3\.\d+)", re.MULTILINE)
BASE = re.compile(r"/python(3\.\d+)$")  # another one after an upgrade of the distribution


@dataclass(frozen=True)
class Folder:
    """`writable`: by the training's user, as far as mode bits say."""

    kind: Literal["absent", "folder", "other"] = "absent"
    owner: str = ""
    writable: bool = True


@dataclass(frozen=True)
class Agent:
    """`python`: "3.11" when it runs, else ""; `installed`: version by normal name."""

    exists: bool = False
    python: str = ""
    installed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Observation:
    """Observe the host. `trusted`: digests of certificates, only if requested."""

    account: bool = False
    uid: int = -1
    home: str = ""
    groups: tuple[str, ...] = ()  # that the account is in
    open_ways: Mapping[str, str] = field(default_factory=dict)  # see open_ways()
    group: bool = False
    root: Folder = Folder()
    manager: Literal["apt", "dnf", ""] = ""
    packages_missing: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    agent: Agent = field(default_factory=Agent)
    readers: Readers = field(default_factory=Readers)


def observe(settings: Settings) -> Observation:
    root, user = str(settings["fleet_root"]), str(settings["fleet_user"])
    manager = packages.manager()
    wanted = wanted_packages(settings, manager) if manager else []
    return Observation(
        **account(user),
        open_ways=open_ways(settings),
        group=group_exists(str(settings["fleet_group"])),
        root=folder(root, user, str(settings["fleet_group"])),
        manager=manager,
        packages_missing=tuple(packages.lacking(manager, wanted)),
        trusted=tuple(trusted()) if settings.get("fleet_ca_bundle") else (),
        agent=agent(str(settings["fleet_agent_dir"])),
        readers=readers.observe(settings),
    )


def open_ways(settings: Settings) -> dict[str, str]:
    """What others than root may write to, by the setting: root believes or runs what lies there."""
    state, agent = str(settings["fleet_state_dir"]), str(settings["fleet_agent_dir"])
    ways = {
        "fleet_state_dir": (state, *(os.path.join(state, name) for name in OF_ROOT)),
        "fleet_agent_dir": (agent, f"{agent}.d"),
        "fleet_agent_base_python": (str(settings["fleet_agent_base_python"]),),
    }
    found = {name: next(filter(None, map(folders.open_to_others, paths)), "") for name, paths in ways.items()}
    return {name: place for name, place in found.items() if place}


def wanted_packages(settings: Settings, manager: str) -> list[str]:
    """Package names: the user's list, and the compilers for the training or a build."""
    build = settings["conda_env_flash_attn_from"] == "source"
    compilers = [*(C[manager] if settings["fleet_agent_compiler"] or build else ()), *(CXX[manager] if build else ())]
    return list(dict.fromkeys([*named(settings, f"fleet_agent_{manager}_packages"), *compilers]))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def digest(pins: Sequence[str]) -> str:
    """Names the folder of an environment with these pins."""
    return sha256(json.dumps(list(pins)))[:12]


def account(user: str) -> dict[str, Any]:
    """The account's part of Observation."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return {}
    names = (_group_name(gid) for gid in os.getgrouplist(user, found.pw_gid))
    return {"account": True, "uid": found.pw_uid, "home": found.pw_dir, "groups": tuple(names)}


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def account_exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def group_exists(group: str) -> bool:
    try:
        grp.getgrnam(group)
    except KeyError:
        return False
    return True


def folder(path: str, user: str, group: str) -> Folder:
    try:
        found = os.stat(path)
    except OSError:
        return Folder("other" if os.path.lexists(path) else "absent")
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    try:
        in_group = grp.getgrgid(found.st_gid).gr_name in memberships(user, group)
    except KeyError:
        in_group = False
    by_bits = found.st_mode & 0o002 or (in_group and found.st_mode & 0o020)
    writable = owner == user or user == "root" or bool(by_bits)
    return Folder("folder" if os.path.isdir(path) else "other", owner, writable)


def memberships(user: str, group: str) -> set[str]:
    """The groups that the account is or will be in."""
    return {group} | {entry.gr_name for entry in grp.getgrall() if user in entry.gr_mem}


def fingerprints(pem: str) -> set[str]:
    """A short digest of each certificate in the text, whatever its line breaks."""
    bodies = ("".join(body.split()) for body in CERTIFICATE.findall(pem))
    return {sha256(body)[:16] for body in bodies}


def trusted(stores: Iterable[str] = STORES) -> list[str]:
    """Digests of the certificates that the host's own store holds."""
    for store in stores:
        if os.path.isfile(store):
            return sorted(fingerprints(files.text(store)))
    return []


def agent(path: str) -> Agent:
    """By its files: root runs nothing of it, for what the packages bring runs when its Python starts (.pth)."""
    python, seen = os.path.join(path, "bin", "python"), Agent(os.path.lexists(path))
    version = VERSION.search(files.text(os.path.join(path, "pyvenv.cfg")))
    base = BASE.search(os.path.realpath(python))
    if not version or not os.access(python, os.X_OK) or (base and base[1] != version[1]):
        return seen
    try:
        entries = folders.names(os.path.join(path, "lib", f"python{version[1]}", "site-packages"))
    except OSError:
        return seen
    names = (entry[: -len(".dist-info")] for entry in entries if entry.endswith(".dist-info"))
    pairs = (name.rsplit("-", 1) for name in names if "-" in name)
    return replace(seen, python=version[1], installed={normal(name): one for name, one in pairs})
