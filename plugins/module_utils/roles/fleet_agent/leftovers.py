"""Leftovers: the environment, certificates, and the account with its home."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...core.errors import FleetError
from ...core.leftover import Leftover
from ...core.settings import Settings
from ...system import programs
from ...system.folders import remove_tree
from . import apply_readers, readers, work

RECORDS: tuple[str, ...] = ("fleet_agent", "system_packages")
SYSTEM_UIDS = 1000  # accounts of people begin here
CACHES = (".cache", ".conda", ".nv", ".triton")  # what programs make anew in the account's home


def leftovers(settings: Settings) -> Iterator[Leftover]:
    link = str(settings["fleet_agent_dir"])
    if os.path.islink(link):
        if os.readlink(link).startswith(f"{link}.d/") and os.path.isdir(f"{link}.d"):
            yield Leftover("fleet_agent", f"{link}.d")
        yield Leftover("fleet_agent", link)  # last, because it says who owns the folder
    if os.path.lexists(readers.record(settings)):  # before the account: its group goes only without other members
        yield Leftover("fleet_agent", readers.record(settings), take=lambda: apply_readers.take_back(settings))
    for place in work.TRUST:
        for certificate in sorted(Path(place).glob("canvas-fleet-*.crt")):
            yield Leftover("fleet_agent", str(certificate))


def home(settings: Settings) -> str:
    return os.path.join(str(settings["fleet_root"]), "home")


def caches(settings: Settings) -> list[str]:
    return [os.path.join(home(settings), name) for name in CACHES]


def account(settings: Settings) -> str:
    """The account, if this role made it, else ""."""
    name = str(settings["fleet_user"])
    with contextlib.suppress(KeyError):
        found = pwd.getpwnam(name)
        if 0 < found.pw_uid < SYSTEM_UIDS and found.pw_dir == home(settings):
            return name
    return ""


def remove_account(settings: Settings, name: str) -> None:
    """The account, and what programs made in its home."""
    _run("userdel", name, variable="fleet_user", remedy="end the programs of the account, then tear down again")
    for cache in caches(settings):
        remove_tree(cache)


def trust_again(removed: Iterable[str]) -> None:
    """Rebuild each certificate store from which a file was removed."""
    places = {os.path.dirname(path) for path in removed}
    for place, command in work.TRUST.items():
        if place in places:
            _run(*command, variable="fleet_ca_bundle", remedy="run it by hand and read its output")


def _run(*argv: str, variable: str, remedy: str) -> None:
    done = programs.run(*argv)
    if not done:
        raise FleetError(f"{argv[0]} failed", variable=variable, found=done.err.strip(), remedy=remedy)
