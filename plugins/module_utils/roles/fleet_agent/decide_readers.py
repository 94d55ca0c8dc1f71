"""The plan's part about who may read: what differs from fleet_readers, and who may not. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.settings import Settings
from ...findings.finding import Finding, finding
from .readers import JOURNAL, LOGIN, ROOT, Reader, Readers, groups

SYSTEM_UIDS, NOBODY = 1000, 65534  # below, and: accounts of the distribution


def wanted(seen: Readers, settings: Settings) -> list[str]:
    """Names of the accounts that shall read; root reads anyway, and the training its own.

    With @login everybody stays who logged in before: two people who take turns do not take the right from each other.
    """
    named = [str(name) for name in settings["fleet_readers"]]
    return list(dict.fromkeys([*(name for name in named if name not in (LOGIN, "root")), *logins(seen, settings)]))


def logins(seen: Readers, settings: Settings) -> list[str]:
    """Those who read because they log in."""
    if LOGIN not in settings["fleet_readers"]:
        return []
    names = dict.fromkeys([seen.login, *seen.record.logins])
    return [name for name in names if name != settings["fleet_user"] and seen.accounts.get(name, Reader()).uid > ROOT]


def findings(seen: Readers, settings: Settings) -> list[Finding]:
    """Names that may not read: absent ones, and accounts of programs. Who logs in has become root already."""
    found = []
    for name in (name for name in wanted(seen, settings) if name not in logins(seen, settings)):
        uid = seen.accounts.get(name, Reader()).uid
        code = "READER_UNKNOWN" if uid < 0 else "READER_OF_SYSTEM" if uid < SYSTEM_UIDS or uid == NOBODY else ""
        given = f"{name} has uid {uid}" if uid >= 0 else f"there is no account {name}"
        if name == settings["fleet_user"]:
            code, given = "READER_OF_SYSTEM", f"{name} is the account of the training"
        if code:
            expected = f"accounts of people, with uids from {SYSTEM_UIDS} on"
            found.append(finding(code, variable="fleet_readers", found=given, expected=expected))
    return found


@dataclass(frozen=True)
class Change:
    """One membership to be made (`add`) or to be taken away."""

    add: bool
    name: str
    group: str

    def __str__(self) -> str:
        return f"{self.name} {'into' if self.add else 'out of'} the group {self.group}"


def changes(seen: Readers, settings: Settings) -> list[Change]:
    """What differs from fleet_readers. A group that fleet_agent is about to make counts as there."""
    names, ours = wanted(seen, settings), groups(settings)
    into = [group for group in ours if group in seen.groups or group != JOURNAL]
    members = {name: one.groups for name, one in seen.accounts.items() if one.uid > ROOT}
    found = [
        Change(True, name, group) for name in names for group in into if name in members and group not in members[name]
    ]
    for name, given in sorted(seen.record.members.items()):
        left = given if name not in names else [group for group in given if group not in ours]
        found += [Change(False, name, group) for group in left if group in members.get(name, ())]
    return found


def reasons(seen: Readers, settings: Settings) -> list[str]:
    """For the plan: who begins and who ends to read."""
    found = changes(seen, settings)
    words = {True: "may not read results and journal yet", False: "is no reader any more"}
    return [f"{name} {words[add]}" for add, name in dict.fromkeys((one.add, one.name) for one in found)]
