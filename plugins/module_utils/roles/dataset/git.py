"""Brings one file out of a git repository onto this host, with git itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from ...core.errors import FleetError
from ...system.resume import Told, public

LFS = b"version https://git-lfs.github.com/spec/"
POLL = 0.5  # seconds between two looks at what has arrived
SILENCE = 120.0  # seconds without a byte after which the server counts as dead


class Done(NamedTuple):
    returncode: int
    errors: str


def quiet(done: int, total: int) -> None:
    """A progress that says nothing."""


def fetch_git(repo: str, commit: str, inside: str, part: Path, cache: Path, told: Told) -> None:
    """Writes the file `inside` of that commit to `part`. Fetches the commit alone, and only this file, if it can."""
    _prepare(repo, cache)
    told(0, 0)
    name = commit if _fetched(commit, cache) else _fetch_commit(repo, commit, cache, told)
    with open(part, "wb") as out:
        got = _git(cache, "cat-file", "blob", f"{name}:{inside}", out=out, told=told)
    if got.returncode:
        raise FleetError(
            "the file is not in the repository at this commit",
            variable="dataset_train or dataset_test",
            found=f"{inside} at {commit} of {public(repo)}: {got.errors.strip()[-200:]}",
            remedy="give the path inside the repository",
        )
    _refuse_pointer(part, inside)
    told(part.stat().st_size, part.stat().st_size)


def _fetch_commit(repo: str, commit: str, cache: Path, told: Told) -> str:
    """The name under which the cache has the commit now. A server that gives no single commits is asked for all."""
    narrow = ("fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", commit)
    if _git(cache, *narrow, told=told).returncode == 0:
        return "FETCH_HEAD"
    every = ("fetch", "--quiet", "--tags", "--force", "origin", "+refs/heads/*:refs/heads/*")
    tried = _git(cache, *every, told=told)
    if tried.returncode or not _has(cache, commit):
        raise _no_commit(repo, commit, tried.errors or "the repository has no such commit")
    return commit


def _fetched(commit: str, cache: Path) -> bool:
    """True for a full commit id that was fetched alone before. Git itself would go and ask the server."""
    try:
        return commit in (cache / "shallow").read_text(encoding="ascii").split()
    except OSError:
        return False


def _prepare(repo: str, cache: Path) -> None:
    if not (cache / "HEAD").exists():
        made = _git(cache, "init", "--quiet", "--bare")
        if made.returncode:
            raise FleetError("git does not run on this host", found=made.errors.strip(), remedy="install git")
    for key, value in (("url", repo), ("promisor", "true"), ("partialclonefilter", "blob:none")):
        _git(cache, "config", f"remote.origin.{key}", value)


def _no_commit(repo: str, commit: str, problem: str) -> FleetError:
    return FleetError(
        f"the commit cannot be fetched from {public(repo)}",
        variable="dataset_commit",
        found=f"{commit}: {' '.join(problem.split())[-300:]}",
        expected="a commit of dataset_repo",
        remedy="correct dataset_repo or dataset_commit, or give this host access",
    )


def _has(cache: Path, name: str) -> bool:
    return _git(cache, "cat-file", "-e", f"{name}^{{commit}}").returncode == 0


def _git(cache: Path, *argv: str, out: Any = None, told: Told = quiet) -> Done:
    """Runs git until it ends, or until nothing arrives for SILENCE seconds: a dead peer keeps git waiting for ever."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["git", "--git-dir", str(cache), *argv],
            stdin=subprocess.DEVNULL,
            stdout=out or subprocess.DEVNULL,
            stderr=errors,
            env=environment,
            start_new_session=True,  # its helpers end with it
        )
        try:
            _watch(process, cache, told)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        errors.seek(0)
        return Done(process.returncode, errors.read().decode("utf-8", "replace"))


def _watch(process: subprocess.Popen[bytes], cache: Path, told: Told) -> None:
    before, since = -1, time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=POLL)
            return
        arrived = _bytes_in(cache)
        told(arrived, 0)
        if arrived != before:
            before, since = arrived, time.monotonic()
        elif time.monotonic() - since > SILENCE:
            raise FleetError(
                "the git server went silent",
                variable="dataset_repo",
                found=f"nothing arrived for {SILENCE:.0f} s",
                expected="an answer",
                remedy="check the repository's server and the way to it, then run again",
            )


def _bytes_in(cache: Path) -> int:
    sizes = []
    for folder, _, names in os.walk(cache / "objects"):
        for name in names:
            with contextlib.suppress(OSError):
                sizes.append(os.stat(os.path.join(folder, name)).st_size)
    return sum(sizes)


def _refuse_pointer(part: Path, inside: str) -> None:
    with open(part, "rb") as content:
        if content.read(len(LFS)) != LFS:
            return
    raise FleetError(
        "the repository holds a Git LFS pointer instead of the file",
        variable="dataset_source",
        found=inside,
        expected="the parquet itself",
        remedy="use dataset_source: url with the file's address, or controller with a copy of it",
    )
