"""The next converge repairs a checkout that was killed at any git command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import apply as code_apply
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import git as git_folder

from tests.unit.support.canvas_repo import (
    TRAINER,
    Upstream,
    checkout,
    converge,
    git,
    plan,
    prepared,
    register,
    settings,
)


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    return prepared(tmp_path, monkeypatch)


class Cut(BaseException):
    """The power goes."""


@pytest.mark.parametrize("stop_at", range(10))
def test_a_cut_before_any_git_command_of_a_clone_is_mended(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    with monkeypatch.context() as power:
        stop_git(power, stop_at)
        with pytest.raises(Cut):
            converge(tmp_path, upstream.one)
    assert converge(tmp_path, upstream.two)["commit"] == upstream.two
    assert plan(tmp_path, upstream.two).findings == ()


@pytest.mark.parametrize("stop_at", range(19))
def test_a_cut_before_any_git_command_of_a_change_is_mended(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    converge(tmp_path, upstream.one)
    register(tmp_path)
    (checkout(tmp_path) / "README.md").write_text("mine\n")
    with monkeypatch.context() as power:
        stop_git(power, stop_at)
        with pytest.raises(Cut):
            converge(tmp_path, upstream.three)
    # Another target than the one that was cut: its files must not be taken for edits.
    report = converge(tmp_path, upstream.two)
    assert (report["commit"], report["edits"]) == (upstream.two, ["README.md"])
    assert (checkout(tmp_path) / "README.md").read_text() == "mine\n"


def stop_git(power: pytest.MonkeyPatch, stop_at: int) -> None:
    real, calls = git_folder.Git.__call__, iter(range(1000))

    def stopping(self: git_folder.Git, *args: str, **more: Any) -> bytes:
        if next(calls) == stop_at:
            raise Cut
        return real(self, *args, **more)

    power.setattr(git_folder.Git, "__call__", stopping)


@pytest.mark.parametrize("goal", ["one", "two", "three"])
def test_a_git_killed_in_the_middle_of_a_checkout_is_mended(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, goal: str
) -> None:
    """What makes half a checkout recognisable is our note, written before git touches the work tree."""
    converge(tmp_path, upstream.one)
    real = git_folder.Git.__call__

    def dying(self: git_folder.Git, *args: str, **more: Any) -> bytes:
        if args[0] == "checkout" and "--detach" in args:
            (checkout(tmp_path) / TRAINER).write_text("print(2)\n" * 100)
            (checkout(tmp_path) / "BAGEL-Canvas/new.py").write_text("n = 2\n" * 10)
            raise Cut
        return real(self, *args, **more)

    with monkeypatch.context() as power:
        power.setattr(git_folder.Git, "__call__", dying)
        with pytest.raises(Cut):
            converge(tmp_path, upstream.two)
    report = converge(tmp_path, getattr(upstream, goal))
    assert (report["commit"], report["edits"]) == (getattr(upstream, goal), [])
    assert git(checkout(tmp_path), "status", "--porcelain") == ""


HALVES = {
    "one file whole, one cut short, one added": {TRAINER: "print(2)\n" * 200, "BAGEL-Canvas/new.py": "n = 2\n" * 300},
    "an added file cut short": {"BAGEL-Canvas/new.py": "n = 2\nn"},
    "a file emptied": {TRAINER: ""},
    "a file taken away": {TRAINER: None},
}


@pytest.mark.parametrize("left", HALVES.values(), ids=HALVES.keys())
@pytest.mark.parametrize("goal", ["one", "two", "three"])
def test_what_a_killed_checkout_left_behind_is_no_edit(
    tmp_path: Path, upstream: Upstream, left: dict[str, str | None], goal: str
) -> None:
    """The work tree as git leaves it when it is killed on the way from one to two: index old, lock there."""
    converge(tmp_path, upstream.one)
    git(checkout(tmp_path), "fetch", "-q", "--depth=1", "origin", upstream.two)
    told = settings(tmp_path, upstream.two)
    code_apply._note(told, upstream.one, pending=upstream.two)
    for name, text in left.items():
        path = checkout(tmp_path) / name
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
    (checkout(tmp_path) / ".git/index.lock").write_text("")
    assert plan(tmp_path, upstream.two).reasons == (f"an interrupted change to {upstream.two[:8]}",)
    wanted = getattr(upstream, goal)
    report = converge(tmp_path, wanted)
    assert (report["commit"], report["edits"]) == (wanted, [])
    assert git(checkout(tmp_path), "status", "--porcelain") == ""


@pytest.mark.parametrize("goal", ["one", "two", "three"])
def test_a_cut_between_index_and_head_is_mended(tmp_path: Path, upstream: Upstream, goal: str) -> None:
    converge(tmp_path, upstream.two)
    told = settings(tmp_path, upstream.three)
    git(checkout(tmp_path), "fetch", "-q", "--depth=1", "origin", upstream.one, upstream.three)
    git(checkout(tmp_path), "checkout", "-q", upstream.three)
    git(checkout(tmp_path), "update-ref", "--no-deref", "HEAD", upstream.one)
    code_apply._note(told, upstream.one, pending=upstream.three)
    wanted = getattr(upstream, goal)
    report = converge(tmp_path, wanted)
    assert (report["commit"], report["edits"]) == (wanted, [])
    assert git(checkout(tmp_path), "status", "--porcelain") == ""


def test_two_at_once_do_not_mix(tmp_path: Path, upstream: Upstream) -> None:
    converge(tmp_path, upstream.one)
    with code_apply._locked(str(checkout(tmp_path))), pytest.raises(FleetError, match="another process changes"):
        converge(tmp_path, upstream.two)
