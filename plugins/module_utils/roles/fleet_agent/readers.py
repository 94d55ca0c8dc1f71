"""Who may read results and journal beside root: members of the account's group and of systemd-journal.

A group lets them read alone: what the training writes has no write bit for it (UMask=0027 of the unit). The account is
made a member of nothing here. A record of root's names the memberships that we made; only these are ever taken away.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...core import wire
from ...core.settings import Settings
from ...system import files

ROOT = 0  # its uid
LOGIN = "@login"  # in fleet_readers: the account by which Ansible logs in
JOURNAL = "systemd-journal"  # its members read the journal (systemd-journald.service(8))
RECORD = "readers.json"
UNSET = "4294967295"  # the login uid of a process without a login


@dataclass(frozen=True)
class Reader:
    """An account; uid -1: there is none of this name."""

    uid: int = -1
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """The memberships that we made: groups by account. `logins`: who came into it by logging in, and stays."""

    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    logins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Readers:
    """`login`: who logged in, "" where that is not known; `accounts`: of all names that matter, by name."""

    login: str = ""
    accounts: Mapping[str, Reader] = field(default_factory=dict)
    record: Record = Record()
    groups: tuple[str, ...] = ()  # of the two groups, those that exist


def observe(settings: Settings) -> Readers:
    """Changes nothing."""
    who, known = login(), wire.from_record(Record, files.load(record(settings), follow=False), Record())
    names = {who, *map(str, settings["fleet_readers"]), *known.members, *known.logins} - {"", LOGIN}
    return Readers(who, {name: account(name) for name in sorted(names)}, known, existing(settings))


def login() -> str:
    """Who logged in and became root: as sudo or doas says, else as the kernel remembers (su)."""
    named = os.environ.get("SUDO_USER") or os.environ.get("DOAS_USER")
    if named:
        return named
    uid = files.text("/proc/self/loginuid").strip("\0 \n") or UNSET
    try:
        return pwd.getpwuid(int(uid)).pw_name if uid != UNSET else ""
    except (KeyError, ValueError):
        return ""


def account(name: str) -> Reader:
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return Reader()
    names = (_group_name(gid) for gid in os.getgrouplist(name, found.pw_gid))
    return Reader(found.pw_uid, tuple(names))


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def existing(settings: Settings) -> tuple[str, ...]:
    return tuple(name for name in groups(settings) if _exists(name))


def _exists(group: str) -> bool:
    try:
        grp.getgrnam(group)
    except KeyError:
        return False
    return True


def groups(settings: Settings) -> tuple[str, str]:
    return str(settings["fleet_group"]), JOURNAL


def record(settings: Settings) -> str:
    return os.path.join(str(settings["fleet_state_dir"]), RECORD)
