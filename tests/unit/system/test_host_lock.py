"""One controller at a time changes a host; what a controller leaves behind never needs a hand."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.system import host_lock, ownership
from ansible_collections.canvas.fleet.plugins.module_utils.system.host_lock import HostLockedError, held, observed
from ansible_collections.canvas.fleet.plugins.plugin_utils import controller

from tests.chaos import two

A, B = {"id": "a", "who": "ann@laptop"}, {"id": "b", "who": "bob@ci"}


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def change(asked: dict[str, str], place: str, over: bool = False) -> None:
    with held(asked, place) as hold:
        hold.over = over


def code(asked: dict[str, str], place: str) -> str:
    with pytest.raises(HostLockedError) as error:
        change(asked, place)
    return error.value.code


def test_between_its_calls_a_host_is_kept_for_its_controller(place: str) -> None:
    change(A, place)
    assert code(B, place) == "HOST_LOCKED"
    change(A, place)
    assert code(B, place) == "HOST_LOCKED"


def test_the_one_clear_line(place: str) -> None:
    change(A, place)
    with pytest.raises(HostLockedError) as error:
        change(B, place)
    line = str(error.value)
    assert line.startswith("HOST_LOCKED: another controller changes this host; found: ann@laptop works here since 2")
    assert "\n" not in line
    assert error.value.as_result()["holder"]["id"] == "a"


def test_a_controller_that_is_done_gives_the_host_back(place: str) -> None:
    change(A, place, over=True)
    change(B, place)


def test_and_so_does_one_whose_work_failed(place: str) -> None:
    with pytest.raises(ZeroDivisionError), held(A, place):
        raise ZeroDivisionError
    change(B, place)


def test_one_that_looks_again_has_done_its_changes(place: str) -> None:
    change(A, place)
    assert observed(B, place)["who"] == "ann@laptop"
    assert observed(A, place)["who"] == ""
    change(B, place)


def test_who_only_looks_locks_nothing_and_waits_for_nobody(place: str) -> None:
    with held(A, place):
        assert observed({}, place)["who"] == "ann@laptop"
        with held({}, place):
            pass


def test_while_a_module_works_nobody_else_comes_in_however_long_it_takes(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_lock, "LEASE", 0.0)
    with held(A, place):
        assert code(B, place) == "HOST_LOCKED"
        assert code({**B, "over": "a"}, place) == "HOST_LOCKED"


def test_a_lease_runs_out(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_lock, "LEASE", 0.05)
    change(A, place)
    assert code(B, place) == "HOST_LOCKED"
    time.sleep(0.06)
    change(B, place)


def test_a_lock_does_not_outlive_a_boot(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change(A, place)
    monkeypatch.setattr(host_lock, "_boot", lambda: "another")
    change(B, place)


def test_boots_are_told_apart(place: str) -> None:
    change(A, place)
    assert len(host_lock.read(place).boot) == len(controller.identity()["boot"]) == 36


def test_what_was_changed_since_the_plan_is_noticed(place: str) -> None:
    first = observed({"id": "c"}, place)["last"]
    change(A, place, over=True)
    assert code({"id": "c", "seen": first}, place) == "HOST_CHANGED", "also on a host that none has held before"
    seen = observed(B, place)["last"]
    change({**B, "seen": seen}, place, over=True)
    assert code({"id": "c", "seen": seen}, place) == "HOST_CHANGED"
    change({"id": "c", "seen": "b"}, place)


def test_a_holder_that_is_gone_is_stepped_over(place: str) -> None:
    change(A, place)
    change({**B, "over": "a"}, place)


@pytest.mark.parametrize("text", ["", "no json", '{"until": "x"}', '{"holder": {"id": 1}}', "[" * 10_000])
def test_a_broken_record_locks_nobody_out(place: str, text: str) -> None:
    os.mkdir(place)
    Path(place, "host.json").write_text(text)
    change(A, place)
    assert code(B, place) == "HOST_LOCKED"


def test_the_lock_is_roots_and_nobody_else_writes_it(place: str) -> None:
    change(A, place)
    for path in (place, f"{place}/host.json", f"{place}/host.lock"):
        found = os.stat(path)
        assert (found.st_uid, found.st_mode & 0o022) == (os.geteuid(), 0)


# the controller's side


@pytest.fixture
def ended() -> dict[str, str]:
    """A controller of this machine whose process has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me = {**controller.identity(), "pid": str(process.pid), "started": controller.started(str(process.pid))}
    assert not controller.is_gone(me)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert controller.is_gone(me), "nobody has asked for its exit code yet: a zombie"
    process.wait()
    return me


def test_a_controller_whose_process_has_ended_is_gone(ended: dict[str, str]) -> None:
    assert controller.is_gone(ended)


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({}, False),
        ({"started": "1"}, True),
        ({"boot": "another"}, True),
        ({"space": "pid:[1]", "started": "1"}, False),
        ({"place": "another", "boot": "another"}, False),
        ({"place": "", "boot": "another"}, False),
        ({"boot": ""}, False),
        ({"place": "with another card", "started": "1"}, True),
    ],
    ids=[
        "it works",
        "its number is another's",
        "before the last boot",
        "in another container",
        "elsewhere",
        "no place",
        "no boot",
        "its cards have changed",
    ],
)
def test_a_controller_is_gone_when_that_is_known(change: dict[str, str], gone: bool) -> None:
    assert controller.is_gone({**controller.identity(), **change}) == gone


def test_a_container_that_comes_or_goes_makes_no_other_machine(tmp_path: Path) -> None:
    for name, kind in (("eth0", "device"), ("veth7", ""), ("lo", "")):
        (tmp_path / name / kind).mkdir(parents=True)
        (tmp_path / name / "address").write_text(f"{name}\n")
    assert controller._cards(str(tmp_path)) == ["eth0"]
    (tmp_path / "eth0/device").rmdir()
    assert controller._cards(str(tmp_path)) == ["eth0", "lo", "veth7"]


def test_a_controller_stays_itself_when_its_cards_change(monkeypatch: pytest.MonkeyPatch) -> None:
    before = controller.identity()
    monkeypatch.setattr(controller, "_cards", lambda: ["another"])
    controller._of.cache_clear()
    after = controller.identity()
    controller._of.cache_clear()
    assert (after["id"], after["place"] == before["place"]) == (before["id"], False)


def test_two_controllers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """14 rounds here; `python -m tests.chaos two` makes 100."""
    monkeypatch.setattr(ownership, "owner_of", ownership.owner_of)
    lines: list[str] = []
    rows: list[dict[str, Any]] = two.run(14, lines.append)
    assert [row for row in rows if not row["held"]] == []
    assert sum(row["reads"] for row in rows) > 100
    assert sum(row["killed"] for row in rows) == 2
    assert sum(sum(row["refused"].values()) for row in rows) > 0, "the two met"
    assert "0 updates lost unnoticed" in two.summary(rows)
