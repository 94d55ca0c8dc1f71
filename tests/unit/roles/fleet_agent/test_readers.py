"""Who may read results and journal: groups given and taken, on a host whose accounts are a table."""

from __future__ import annotations

import grp
import json
import os
import pwd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.action import readers as readers_action
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.fleet_agent import (
    apply_readers,
    decide_readers,
    leftovers,
    readers,
)
from ansible_collections.canvas.fleet.plugins.module_utils.system import programs

from tests.unit.support import actions

UIDS = {"root": 0, "www-data": 33, "blockmoving": 990, "deploy": 1000, "ada": 1001, "grace": 1002, "nobody": 65534}
GIDS = {"blockmoving": 990, "systemd-journal": 101, "people": 1000}


class Host:
    """Accounts and groups; gpasswd changes them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.members: dict[str, set[str]] = {name: set() for name in GIDS}
        self.calls: list[tuple[str, ...]] = []
        self.broken = ""
        self.state, self.monkeypatch = root, monkeypatch
        monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_uid=UIDS[name], pw_gid=1000, pw_name=name))
        monkeypatch.setattr(grp, "getgrnam", self._group)
        names = {number: name for name, number in GIDS.items()}
        monkeypatch.setattr(grp, "getgrgid", lambda number: SimpleNamespace(gr_name=names[number]))
        monkeypatch.setattr(os, "getgrouplist", self._groups)
        monkeypatch.setattr(programs, "run", self._run)
        self.logs_in("deploy")

    def logs_in(self, name: str) -> None:
        self.monkeypatch.setenv("SUDO_USER", name)

    def settings(self, *names: str, group: str = "blockmoving") -> Any:
        return {"fleet_readers": list(names), "fleet_user": "blockmoving", "fleet_group": group,
                "fleet_state_dir": str(self.state), "fleet_agent_dir": str(self.state / "agent")}  # fmt: skip

    def converge(self, *names: str, check: bool = False, **more: str) -> list[str]:
        return [str(one) for one in apply_readers.converge(self.settings(*names, **more), check)]

    def reading(self) -> dict[str, list[str]]:
        return {group: sorted(members) for group, members in self.members.items() if members}

    @property
    def record(self) -> Any:
        path = self.state / "readers.json"
        return json.loads(path.read_text()) if path.exists() else None

    def _group(self, name: str) -> Any:
        return dict.fromkeys(self.members, True)[name]

    def _groups(self, name: str, gid: int) -> list[int]:
        return [gid, *(GIDS[group] for group, members in self.members.items() if name in members)]

    def _run(self, program: str, how: str, name: str, group: str) -> programs.Done:
        self.calls.append((program, how, name, group))
        if self.broken == group:
            return programs.Done(1, "", "gpasswd: group is of LDAP\n")
        (set.add if how == "-a" else set.discard)(self.members[group], name)
        return programs.Done(0)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


BOTH = {"blockmoving": ["deploy"], "systemd-journal": ["deploy"]}


def test_who_logs_in_reads_and_a_second_call_changes_nothing(host: Host) -> None:
    assert host.converge("@login") == [
        "deploy into the group blockmoving",
        "deploy into the group systemd-journal",
    ]
    assert host.reading() == BOTH
    assert host.converge("@login") == []
    assert len(host.calls) == 2


def test_a_dry_run_says_the_same_and_changes_nothing(host: Host) -> None:
    assert len(host.converge("@login", check=True)) == 2
    assert (host.calls, host.record) == ([], None)


def test_a_name_that_leaves_the_list_loses_what_it_got(host: Host) -> None:
    host.converge("ada", "grace")
    assert host.converge("grace") == ["ada out of the group blockmoving", "ada out of the group systemd-journal"]
    assert host.reading() == {"blockmoving": ["grace"], "systemd-journal": ["grace"]}
    host.converge()
    assert (host.reading(), host.record) == ({}, None)


def test_what_a_person_made_stays(host: Host) -> None:
    host.members["systemd-journal"].add("ada")
    host.converge("ada")
    host.converge()
    assert host.reading() == {"systemd-journal": ["ada"]}


def test_two_people_who_log_in_by_turns_do_not_take_it_from_each_other(host: Host) -> None:
    host.converge("@login")
    host.logs_in("ada")
    assert host.converge("@login") == ["ada into the group blockmoving", "ada into the group systemd-journal"]
    host.logs_in("deploy")
    assert host.converge("@login") == []
    assert host.converge("deploy") == ["ada out of the group blockmoving", "ada out of the group systemd-journal"]


def test_another_group_of_the_account_is_followed(host: Host) -> None:
    host.converge("ada")
    assert host.converge("ada", group="people") == ["ada out of the group blockmoving"], "people is ada's own group"
    assert host.reading() == {"systemd-journal": ["ada"]}


@pytest.mark.parametrize("name", ["root", "blockmoving", ""])
def test_a_login_that_needs_no_right_gets_none(host: Host, name: str) -> None:
    host.logs_in(name)
    host.monkeypatch.setattr(readers.files, "text", lambda path: readers.UNSET)
    assert host.converge("@login") == []


def test_a_login_by_su_is_known_to_the_kernel(host: Host) -> None:
    host.monkeypatch.delenv("SUDO_USER")
    host.monkeypatch.setattr(readers.files, "text", lambda path: "1001")
    host.monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name={1001: "ada"}[uid]))
    assert readers.login() == "ada"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param("nobody-here", "READER_UNKNOWN", id="no such account"),
        pytest.param("www-data", "READER_OF_SYSTEM", id="a program of the distribution"),
        pytest.param("nobody", "READER_OF_SYSTEM", id="nobody"),
        pytest.param("blockmoving", "READER_OF_SYSTEM", id="the training itself"),
    ],
)
def test_a_name_that_may_not_read_is_refused_before_anything_is_changed(host: Host, name: str, code: str) -> None:
    with pytest.raises(FleetError) as caught:
        host.converge("ada", name)
    assert caught.value.code == code
    assert name in caught.value.found
    assert (host.calls, host.record) == ([], None)


def test_a_cut_between_the_two_groups_is_gone_on_from(host: Host) -> None:
    host.broken = "systemd-journal"
    with pytest.raises(FleetError, match="LDAP"):
        host.converge("ada")
    host.broken = ""
    assert host.converge("ada") == ["ada into the group systemd-journal"]
    assert host.record["members"] == {"ada": ["blockmoving", "systemd-journal"]}
    assert len(host.converge()) == 2, "both were recorded as ours"


def test_a_group_that_does_not_follow_is_named(host: Host) -> None:
    host.monkeypatch.setattr(programs, "run", lambda *words: programs.Done(0))
    with pytest.raises(FleetError, match="still to do: ada into the group blockmoving"):
        host.converge("ada")


def test_an_account_that_is_gone_ends_no_converge(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.converge("ada")
    monkeypatch.setitem(UIDS, "gone", 1003)
    host.converge("ada", "gone")
    monkeypatch.delitem(UIDS, "gone")
    for members in host.members.values():
        members.discard("gone")
    assert host.converge("ada") == []
    assert set(host.record["members"]) == {"ada"}


def test_the_plan_says_who_begins_and_who_ends_to_read(host: Host) -> None:
    host.converge("ada")
    seen = readers.observe(host.settings("grace"))
    assert decide_readers.reasons(seen, host.settings("grace")) == [
        "grace may not read results and journal yet",
        "ada is no reader any more",
    ]


def test_on_a_bare_host_the_group_to_come_counts(host: Host) -> None:
    del host.members["blockmoving"]
    assert host.converge("ada", check=True) == ["ada into the group blockmoving", "ada into the group systemd-journal"]


def test_a_teardown_takes_it_back(host: Host) -> None:
    host.members["blockmoving"].add("grace")
    host.converge("ada")
    (one,) = [one for one in leftovers.leftovers(host.settings("ada")) if one.path.endswith("readers.json")]
    assert one.goes(frozenset())
    assert one.take is not None
    one.take()
    assert (host.reading(), host.record) == ({"blockmoving": ["grace"]}, None)
    assert not any(one.path.endswith("readers.json") for one in leftovers.leftovers(host.settings("ada")))


@pytest.mark.parametrize(("changed", "check", "resets"), [(True, False, 1), (False, False, 0), (True, True, 0)])
def test_a_new_right_is_met_by_a_new_login(changed: bool, check: bool, resets: int) -> None:
    made = actions.action(readers_action, iter([{"changed": changed}]), {}, check)
    count: list[int] = []
    made._connection.reset = lambda: count.append(1)
    assert actions.run(made)["changed"] is changed
    assert len(count) == resets
