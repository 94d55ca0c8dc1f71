"""Gives and takes the right to read results and journal. Runs as root."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...core import wire
from ...core.errors import FleetError, raise_for
from ...core.settings import Settings
from ...system import files, programs
from . import decide_readers, readers


def converge(settings: Settings, check: bool) -> list[decide_readers.Change]:
    """Make and take away memberships. Returns what was done, or would be. Raises FleetError.

    A membership is in the record before it is made and until it is taken away: cut anywhere, the next call goes on.
    """
    seen = readers.observe(settings)
    raise_for(decide_readers.findings(seen, settings))
    todo = decide_readers.changes(seen, settings)
    if check:
        return todo
    made = {name: dict.fromkeys(given) for name, given in seen.record.members.items()}
    for one in (one for one in todo if one.add):
        made.setdefault(one.name, {})[one.group] = None
    _write(settings, seen, made)
    for one in todo:
        _gpasswd("-a" if one.add else "-d", one.name, one.group)
    now = readers.observe(settings)
    if left := decide_readers.changes(now, settings):
        raise FleetError(
            "the right to read did not change",
            variable="fleet_readers",
            found=f"still to do: {', '.join(map(str, left))}",
            remedy="look where the host takes its groups from (getent group, /etc/nsswitch.conf)",
        )
    names = decide_readers.wanted(now, settings)
    held = {name: [one for one in given if one in now.accounts[name].groups] for name, given in made.items()}
    _write(settings, now, {name: given for name, given in held.items() if given and name in names})
    return todo


def take_back(settings: Settings) -> None:
    """Teardown: no membership of ours is left, and no record."""
    for name, given in readers.observe(settings).record.members.items():
        for group in given:
            if group in readers.account(name).groups:
                _gpasswd("-d", name, group)
    files.remove(readers.record(settings))


def _write(settings: Settings, seen: readers.Readers, members: Mapping[str, Iterable[str]]) -> None:
    """The record of these memberships, where it differs from the one that was seen; none for none."""
    stay = [name for name in decide_readers.logins(seen, settings) if name in members]
    new = readers.Record({name: tuple(given) for name, given in sorted(members.items())}, tuple(sorted(stay)))
    if new != seen.record and members:
        files.save(readers.record(settings), wire.to_dict(new))
    elif new != seen.record:
        files.remove(readers.record(settings))


def _gpasswd(how: str, name: str, group: str) -> None:
    done = programs.run("gpasswd", how, name, group)
    if not done:
        raise FleetError(
            "a member of a group cannot be changed",
            variable="fleet_readers",
            found=f"gpasswd {how} {name} {group}: {' '.join(done.err.split())}",
            remedy="a group of a directory (LDAP) is changed there; else look at /etc/group",
        )
