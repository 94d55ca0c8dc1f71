"""Brings one file onto this host: over HTTP, resumed where it was cut, or out of a git repository."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError

Told = Callable[[int, int], None]  # bytes done, bytes in all (0: not known)

BLOCK = 1 << 18
TRIES = 5  # consecutive failures without a byte in between
PAUSE = 1.0  # seconds before the first retry, doubled for each further one
TIMEOUT = 30.0  # seconds without an answer
LFS = b"version https://git-lfs.github.com/spec/"


def public(url: str) -> str:
    """The URL as it may be printed: without login and without query, where keys tend to stand."""
    parts = urlsplit(url)
    if not parts.scheme:  # git's own user@host:path
        return url
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def fetch_url(url: str, part: Path, variable: str, told: Told) -> None:
    """Leaves the whole file at `part`. A part that lies there is continued if the server still has that very file."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise FleetError(
            "only http and https can be fetched", variable=variable, found=public(url), expected="https://…"
        )
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            return _fetch_once(url, part, told)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 425, 429):
                raise _refused(url, variable, f"HTTP {error.code} {error.reason}") from error
            problem = f"HTTP {error.code} {error.reason}"
        except (OSError, EOFError, HTTPException) as error:  # URLError and timeouts are OSErrors
            if isinstance(error, OSError) and error.filename:  # the disk, not the network
                raise
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        failures = failures + 1 if (part.stat().st_size if part.exists() else 0) <= before else 1
        if failures >= TRIES:
            raise _refused(url, variable, problem)
        time.sleep(PAUSE * 2 ** (failures - 1))


def _refused(url: str, variable: str, problem: str) -> FleetError:
    return FleetError(
        f"the file cannot be fetched from {public(url)}",
        variable=variable,
        found=problem,
        expected="the file",
        remedy="correct the URL, or mend the network; what was fetched so far is kept",
    )


def _fetch_once(url: str, part: Path, told: Told) -> None:
    note = part.with_name(part.name + ".json")
    start, headers = _resume_point(url, part, note)
    headers = {"User-Agent": "canvas-fleet", "Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  the scheme was checked
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310  the scheme was checked
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing after what we have: begin again, the digest decides
            part.unlink()
        raise _again(error) from error
    with answer:
        if answer.status != 206:
            start = 0
        total = start + int(answer.headers.get("Content-Length") or 0)
        mark = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        note.write_text(json.dumps({"url": url, "mark": mark}), encoding="utf-8")
        note.chmod(0o600)
        with open(part, "ab" if start else "wb") as out:
            done = start
            while block := answer.read(BLOCK):
                out.write(block)
                done += len(block)
                told(done, total)
    if total > done:
        raise EOFError(f"the connection ended after {done} of {total} bytes")
    note.unlink()


def _again(error: urllib.error.HTTPError) -> Exception:
    return OSError("the server has another file now") if error.code == 416 else error


def _resume_point(url: str, part: Path, note: Path) -> tuple[int, dict[str, str]]:
    """Bytes that need not be fetched again, and the headers that ask for the rest of the very same file."""
    try:
        known: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        size = part.stat().st_size
    except (OSError, ValueError):
        return 0, {}
    if not size or known.get("url") != url or not known.get("mark") or str(known["mark"]).startswith("W/"):
        return 0, {}
    return size, {"Range": f"bytes={size}-", "If-Range": str(known["mark"])}


def fetch_git(repo: str, commit: str, inside: str, part: Path, cache: Path, told: Told) -> None:
    """Writes the file `inside` of that commit to `part`. Fetches the commit alone, and only this file, if it can."""
    _prepare(repo, cache)
    told(0, 0)
    name = commit if _pinned(commit) and _has(cache, commit) else _fetch_commit(repo, commit, cache)
    with open(part, "wb") as out:
        got = _git(cache, "cat-file", "blob", f"{name}:{inside}", out=out)
    if got.returncode:
        raise FleetError(
            "the file is not in the repository at this commit",
            variable="dataset_train or dataset_test",
            found=f"{inside} at {commit} of {public(repo)}: {got.stderr.strip()[-200:]}",
            remedy="give the path inside the repository",
        )
    _refuse_pointer(part, inside)
    told(part.stat().st_size, part.stat().st_size)


def _fetch_commit(repo: str, commit: str, cache: Path) -> str:
    """The name under which the cache has the commit now. A server that gives no single commits is asked for all."""
    if _git(cache, "fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", commit).returncode == 0:
        return "FETCH_HEAD"
    tried = _git(cache, "fetch", "--quiet", "--tags", "--force", "origin", "+refs/heads/*:refs/heads/*")
    if tried.returncode or not _has(cache, commit):
        raise _no_commit(repo, commit, tried.stderr or "the repository has no such commit")
    return commit


def _pinned(commit: str) -> bool:
    return len(commit) == 40 and not set(commit.lower()) - set("0123456789abcdef")


def _prepare(repo: str, cache: Path) -> None:
    if not (cache / "HEAD").exists():
        made = subprocess.run(["git", "init", "--quiet", "--bare", str(cache)], capture_output=True, text=True)
        if made.returncode:
            raise FleetError("git does not run on this host", found=made.stderr.strip(), remedy="install git")
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
    return _git(cache, "cat-file", "-e", f"{name}^{{commit}}", lazy=False).returncode == 0


def _git(cache: Path, *argv: str, out: Any = None, lazy: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_NO_LAZY_FETCH": "0" if lazy else "1"}
    return subprocess.run(
        ["git", "--git-dir", str(cache), *argv],
        stdin=subprocess.DEVNULL,
        stdout=out or subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


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
