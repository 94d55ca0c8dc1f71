"""One file by URL, resumed where it was cut, and taken only when its digest is right. Standard library only."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from ..core.errors import FleetError

CHUNK = 1 << 18
ATTEMPTS = 5
Told = Callable[[int, int], None]  # bytes done, bytes in all (0: not known)


def sha256_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(url: str, path: str, sha256: str, variable: str, told: Told, pause: float = 2.0) -> None:
    """Brings `url` to `path`. What has arrived stays in a part file, so that a killed call is simply made again.

    Raises FleetError, naming `variable`, when the server refuses, stays silent, or the digest is another one.
    """
    if os.path.exists(path) and sha256_of(path) == sha256:
        return
    part = f"{path}.{sha256[:8]}.part"  # of this very file: another digest never continues it
    for attempt in range(ATTEMPTS):
        try:
            _append(url, part, told)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is as long as the file, or longer
                break
            if error.code < 500 and error.code not in (408, 429):
                raise FleetError(
                    f"{url} can't be had", variable=variable, found=f"HTTP {error.code} {error.reason}"
                ) from error
            _wait(attempt, url, variable, error, pause)
        except (OSError, http.client.HTTPException) as error:
            _wait(attempt, url, variable, error, pause)
    _take(url, part, path, sha256, variable)


def _wait(attempt: int, url: str, variable: str, error: Exception, pause: float) -> None:
    if attempt + 1 == ATTEMPTS:
        raise FleetError(
            f"{url} can't be had",
            variable=variable,
            found=f"{error} ({ATTEMPTS} attempts)",
            remedy="check the host's way to it, or name a mirror; the next run continues where this one ended",
        ) from error
    time.sleep(pause * 2**attempt)


def _append(url: str, part: str, told: Told) -> None:
    """Adds to the part what is missing. Raises OSError when the connection ends before the file does."""
    have = os.path.getsize(part) if os.path.exists(part) else 0
    request = urllib.request.Request(url, headers={"User-Agent": "canvas-fleet"})  # noqa: S310 - the user's own URL
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        resumed = have > 0 and getattr(answer, "status", None) == 206
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else 0
        with open(part, "ab" if resumed else "wb") as out:
            told(have, total)
            for chunk in iter(lambda: answer.read(CHUNK), b""):
                out.write(chunk)
                have += len(chunk)
                told(have, total)
            out.flush()
            os.fsync(out.fileno())
    if have < total:
        raise OSError(f"the connection ended after {have} of {total} bytes")


def _take(url: str, part: str, path: str, sha256: str, variable: str) -> None:
    found = sha256_of(part)
    if found != sha256:
        os.unlink(part)
        raise FleetError(
            f"{url} is not the file that was meant",
            variable=variable,
            found=f"sha256 {found}",
            expected=f"sha256 {sha256}",
            remedy="correct the digest in the inventory if you changed the URL on purpose; nothing of it was run",
        )
    os.replace(part, path)
