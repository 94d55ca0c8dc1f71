"""Folders that are made once, whatever cuts their making."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from demo.depot import parts


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in parts.files_below(folder)}


def maker(word: str, made: list[str]) -> Any:
    def make(folder: Path) -> parts.Result:
        made.append(word)
        (folder / "file").write_text(word)
        (folder / word).write_text("")
        return {"word": word}

    return make


def test_nothing_is_made_twice(tmp_path: Path) -> None:
    made: list[str] = []
    for _ in range(3):
        assert parts.made(tmp_path / "a", ["1"], maker("one", made)) == {"word": "one"}
    assert made == ["one"]


def test_other_inputs_replace_the_folder_whole(tmp_path: Path) -> None:
    made: list[str] = []
    parts.made(tmp_path / "a", ["1"], maker("one", made))
    parts.made(tmp_path / "a", ["2"], maker("two", made))
    assert contents(tmp_path / "a") == {"file": "two", "two": ""}


def test_a_removed_folder_is_made_again(tmp_path: Path) -> None:
    made: list[str] = []
    parts.made(tmp_path / "a", ["1"], maker("one", made))
    shutil.rmtree(tmp_path / "a")
    parts.made(tmp_path / "a", ["1"], maker("one", made))
    assert made == ["one", "one"]


class Cut(BaseException):
    """As Ctrl-C or a kill: not an Exception."""


CHANGES = [(Path, name) for name in ("rename", "replace", "unlink", "mkdir", "write_text")] + [(shutil, "rmtree")]


def cut_making(folder: Path, steps: int) -> bool:
    """Make "two" where "one" lies, cut before the change number `steps`; True when it was not cut any more."""
    parts.made(folder, ["1"], maker("one", []))
    with pytest.MonkeyPatch.context() as patch:
        count = iter(range(steps))
        for owner, name in CHANGES:
            patch.setattr(owner, name, cut_after(count, getattr(owner, name)))
        try:
            parts.made(folder, ["2"], maker("two", []))
        except Cut:
            return False
    return True


def test_a_cut_at_any_step_converges_on_the_next_run(tmp_path: Path) -> None:
    steps = 0
    finished = False
    while not finished:
        folder = tmp_path / str(steps) / "a"
        finished = cut_making(folder, steps)
        for inputs, word in (("1", "one"), ("2", "two"), ("2", "two")):  # the user may also go back to the earlier ones
            assert parts.made(folder, [inputs], maker(word, [])) == {"word": word}
            assert contents(folder) == {"file": word, word: ""}
        assert not (folder.parent / ".a.new").exists()
        steps += 1
    assert steps > 9  # every change on the disk was cut before once


def cut_after(count: Any, real: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        if next(count, None) is None:
            raise Cut
        return real(*args, **kwargs)

    return call


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param(lambda f: (f / "a").write_text("x"), True, id="the same content written again"),
        pytest.param(lambda f: (f / "a").write_text("y"), False, id="another content"),
        pytest.param(lambda f: (f / "a").chmod(0o755), False, id="an executable bit"),
        pytest.param(lambda f: (f / "a").rename(f / "b"), False, id="another name"),
        pytest.param(lambda f: (f / "c").symlink_to("nowhere"), False, id="a further link"),
        pytest.param(lambda f: (f / "__pycache__").mkdir(), True, id="what Python leaves behind"),
    ],
)
def test_a_digest_changes_with(tmp_path: Path, change: Any, same: bool) -> None:
    (tmp_path / "a").write_text("x")
    before = parts.digest_of(tmp_path)
    change(tmp_path)
    assert (parts.digest_of(tmp_path) == before) is same
