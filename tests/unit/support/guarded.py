"""A run's folders under the guard, and the ways in which saves and guard are cut."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import guard as supervisor_guard

from tests.unit.support import saves
from tests.unit.support.saves import FILES, LORA, SHARDS, STATE, Killed, everything, resumes_from, save

EVERY = 20
WRITES = 1 + 2 * len(FILES) + len(STATE)  # of a save that deletes the .pt files of one older folder
# Each call by which the guard changes something; the process may end before any of them.
CALLS = ("mkdir", "rename", "replace", "link", "unlink", "rmdir", "fsync")


class Run:
    """A run's folders, with the trainer's saves and the guard's hooks."""

    def __init__(self, root: Path, **spec: Any) -> None:
        self.root, self.place = root, saves.place(root)
        self.folder = root / "checkpoints"
        self.spec = {
            "results_dir": str(root), "checkpoint_dir": str(self.folder), "shards": SHARDS, "save_every": EVERY, **spec,
        }  # fmt: skip
        self.files = LORA if spec.get("profile") == "lora" else FILES
        self.said: list[str] = []

    def saved(self, *steps: int, delete: bool = True) -> Run:
        for step in steps:
            save(self.folder, step, delete, files=self.files)
            supervisor_guard.after_save(self.spec, step, self.said.append)
        return self

    def start(self) -> int | None:
        """What the trainer resumes from after the guard's work."""
        supervisor_guard.before_start(self.spec, self.said.append)
        return resumes_from(self.folder)

    def whole(self) -> list[int]:
        """Steps of which each file lies as it was saved, in the trainer's folder or the kept one. No code of ours."""
        found = []
        for step in sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit()):
            places = (self.folder / f"{step:07d}", self.root / "kept" / f"{step:07d}")
            if any(all(same(place / name, step) for name in self.files) for place in places):
                found.append(step)
        return found

    def content(self) -> set[bytes]:
        """Every content below the run's folder that is not a manifest."""
        return {text for text in everything(self.root) if not text.startswith(b'{\n "files"')}


def same(path: Path, step: int) -> bool:
    return path.is_file() and path.read_bytes() == saves.content(path.name, step)


@contextmanager
def killed_before(call: int) -> Iterator[list[int]]:
    """The process ends before its call number `call`; yields a list with the number of calls so far."""
    count = [0]

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def do(*args: Any, **options: Any) -> Any:
            if count[0] == call:
                raise Killed
            count[0] += 1
            return real(*args, **options)

        return do

    with mock.patch.multiple(os, **{name: dying(getattr(os, name)) for name in CALLS}):
        yield count


def hurt(path: Path, damage: str) -> None:
    text = path.read_bytes()
    if damage in ("missing", "a folder"):
        path.unlink()
        if damage == "a folder":
            path.mkdir()
    elif damage.startswith("ends"):
        with path.open("r+b") as target:
            target.seek(len(text) // 2)
            target.write(bytes(byte ^ 0xFF for byte in text[len(text) // 2 :][:20]))
    else:
        path.write_bytes({"cut": text[: len(text) // 3], "empty": b"", "longer": text + b"\0"}[damage])
