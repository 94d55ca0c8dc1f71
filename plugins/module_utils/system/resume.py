"""Brings one file onto this host over HTTP, resumed where it was cut. Standard library only."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..core.errors import FleetError

Told = Callable[[int, int], None]  # bytes done, bytes in all (0: not known)

BLOCK = 1 << 18
TRIES = 5  # consecutive failures without a byte in between
PAUSE = 1.0  # seconds before the first retry, doubled for each further one
TIMEOUT = 30.0  # seconds without an answer


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
