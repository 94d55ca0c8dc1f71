"""Folders that are made once: under another name, then renamed, with a stamp of their inputs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Log = Callable[[str], None]
Result = dict[str, Any]


class DepotError(Exception):
    """One line that says what is missing and what to do."""


def files_below(folder: Path) -> list[Path]:
    """Every file and link below `folder`, sorted, without what Python leaves behind."""
    return sorted(p for p in folder.rglob("*") if "__pycache__" not in p.parts and (p.is_symlink() or p.is_file()))


def digest_of(*inputs: Path | str) -> str:
    """sha256 over names, executable bits and contents of files and folders, and over plain strings."""
    total = hashlib.sha256()
    for given in inputs:
        if isinstance(given, str):
            total.update(f"text {given}\n".encode())
            continue
        for path in files_below(given) if given.is_dir() else [given]:
            name = path.relative_to(given) if path != given else Path(path.name)
            content = sha256(path) if path.is_file() else os.readlink(path)
            total.update(f"{name} {os.access(path, os.X_OK)} {content}\n".encode())
    return total.hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, text: str) -> None:
    """Write `path` whole or not at all; leave it alone when it holds `text` already."""
    if path.is_file() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text)
    aside.replace(path)


def made(folder: Path, inputs: Iterable[Path | str], make: Callable[[Path], Result]) -> Result:
    """What `make(folder)` returns; made again only when `inputs` changed or a run was interrupted.

    The stamp is removed before the folder and written after it, so an interruption leads to a new folder.
    """
    digest = digest_of(*inputs)
    stamp = folder.parent / f".{folder.name}.stamp"
    try:
        kept = json.loads(stamp.read_text())
        if kept["digest"] == digest and folder.is_dir():
            return dict(kept["result"])
    except (OSError, ValueError, KeyError):
        pass
    aside, old = (folder.parent / f".{folder.name}.{word}" for word in ("new", "old"))
    for left in (aside, old):
        shutil.rmtree(left, ignore_errors=True)
    aside.mkdir(parents=True)
    result = make(aside)
    stamp.unlink(missing_ok=True)
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    write(stamp, json.dumps({"digest": digest, "result": result}))
    return result


def place(source: Path, target: Path) -> None:
    """The same file at a second place: a hard link, or a copy where the file system has no such links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
