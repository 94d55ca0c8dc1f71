"""The door to HTTP servers: a small answer, or a whole file that goes on where it was cut."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..core.errors import FleetError
from ..core.masking import public
from . import credentials, digests, files

Tell = Callable[[int, int], None]  # bytes done, bytes in all (0: not known)

BLOCK = 1 << 18
TRIES = 5  # consecutive failures without a byte in between
PAUSE = 1.0  # seconds before the first retry, doubled for each further one
TIMEOUT = 60.0  # seconds without an answer
BUSY = (408, 425, 429)


def check(url: str, variable: str = "", *, local: bool = False) -> None:
    """Raises FleetError for a URL that is not http or https, nor (`local`) a file of this host."""
    if urlsplit(url).scheme not in ("http", "https", *(("file",) if local else ())):
        raise FleetError(
            "only http and https can be fetched", variable=variable, found=public(url), expected="https://…"
        )


def read(url: str, *, limit: int, proxies: Mapping[str, str] | None = None) -> bytes:
    """At most `limit` bytes of an answer, or of a file of this host.

    Raises OSError for a server that cannot be reached or refuses, FleetError for what is no URL of a server.
    """
    check(url, local=True)
    with _open(url, {}, proxies) as answer:
        found: bytes = answer.read(limit)
        return found


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https alone, never from https to http, and takes no login to another server."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
            raise urllib.error.HTTPError(
                req.full_url, code, f"redirects to {public(newurl)}, which is refused", headers, fp
            )
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made and (old.scheme, old.netloc) != (new.scheme, new.netloc):
            for name in ("Authorization", "Cookie"):
                made.headers.pop(name, None)
        return made


def _open(url: str, headers: Mapping[str, str], proxies: Mapping[str, str] | None = None) -> Any:
    sent = {"User-Agent": "canvas-fleet", "Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(url, headers=sent)  # noqa: S310 - see check()
    if authorization := credentials.header(url):
        request.add_unredirected_header("Authorization", authorization)  # for this server, not where it sends us
    handlers: list[Any] = [_Redirects()]
    if proxies:
        handlers.append(urllib.request.ProxyHandler({**urllib.request.getproxies(), **proxies}))
    return urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT)


def fetch(url: str, path: Path, sha256: str, variable: str, tell: Tell) -> None:
    """Brings the file of this digest to `path`. What has arrived stays, so that a killed call is simply made again.

    Raises FleetError, naming `variable`, when the server refuses, stays silent, or the file is another one.
    """
    if path.is_file() and digests.of_file(path) == sha256:
        return
    part = path.with_name(f"{path.name}.{sha256[:8]}.part")  # of this very file: another digest never continues it
    fetch_part(url, part, variable, tell, sha256=sha256)
    files.put(part, path, 0o644)


def fetch_part(url: str, part: Path, variable: str, tell: Tell, *, sha256: str = "") -> None:
    """Leaves the whole file at `part`. A part that lies there is continued if the server still has that very file.

    With `sha256` any part is continued, and what is not the file in the end is fetched once more from its beginning.
    """
    check(url, variable, local=bool(sha256))
    continued = _size(part) > 0
    _fetch(url, part, variable, tell, known=bool(sha256))
    found = digests.of_file(part) if sha256 else ""
    if found != sha256 and continued:
        files.remove(part)
        _fetch(url, part, variable, tell, known=True)
        found = digests.of_file(part)
    if found != sha256:
        files.remove(part)
        raise FleetError(
            f"{public(url)} has another digest",
            variable=variable,
            found=f"sha256 {found}",
            expected=f"sha256 {sha256}",
            remedy="correct the digest in the inventory if you changed the URL on purpose; the file was not used",
        )


def _fetch(url: str, part: Path, variable: str, tell: Tell, *, known: bool) -> None:
    failures = 0
    while True:
        before = _size(part)
        try:
            return _fetch_once(url, part, tell, known)
        except urllib.error.HTTPError as error:
            problem = f"HTTP {error.code} {error.reason}"
            if error.code < 500 and error.code not in BUSY:
                raise _refused(url, variable, problem) from error
        except (OSError, EOFError, HTTPException) as error:  # URLError and timeouts are OSErrors
            if isinstance(error, OSError) and error.filename:  # the disk, not the network
                raise
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        failures = failures + 1 if _size(part) <= before else 1
        if failures >= TRIES:
            raise _refused(url, variable, problem)
        time.sleep(PAUSE * 2 ** (failures - 1))


def _refused(url: str, variable: str, problem: str) -> FleetError:
    return FleetError(
        f"the file cannot be fetched from {public(url)}",
        variable=variable,
        found=problem,
        expected="the file",
        remedy="correct the URL, or repair the network; the fetched part is kept",
    )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _fetch_once(url: str, part: Path, tell: Tell, known: bool) -> None:
    note = part.with_name(part.name + ".json")
    done, headers = _resume_point(url, part, note, known)
    try:
        answer = _open(url, headers)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not done:
            raise
        if known:
            return  # the part is as long as the file, or longer: its digest decides
        files.remove(part)
        raise OSError("the server has another file now") from error
    with answer, files.open_part(part) as out:
        mark = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        if getattr(answer, "status", 200) != 206:
            done = 0
            out.truncate(0)
        elif not _goes_on(answer.headers, done) or headers.get("If-Range", mark) != mark:
            out.truncate(0)
            raise OSError("the server answered with another part, or of another file")
        total = done + int(answer.headers.get("Content-Length") or 0)
        files.save(note, {"url": url, "mark": mark}, 0o600, durable=False)
        out.seek(done)
        while block := answer.read(BLOCK):
            out.write(block)
            done += len(block)
            tell(done, total)
    if total > done:
        raise EOFError(f"the connection ended after {done} of {total} bytes")
    files.remove(note)


def _goes_on(headers: Mapping[str, str], done: int) -> bool:
    """True when a partial answer begins where the part ends. Answers with several ranges do not say it."""
    begin = re.match(r"bytes (\d+)-", headers.get("Content-Range") or "")
    return begin is not None and int(begin[1]) == done


def _resume_point(url: str, part: Path, note: Path, known: bool) -> tuple[int, dict[str, str]]:
    """Bytes that need not be fetched again, and the headers that ask for the rest of the very same file."""
    size, noted = _size(part), files.load(note)
    mark = str(noted.get("mark") or "")
    if not size:
        return 0, {}
    if known:
        return size, {"Range": f"bytes={size}-"}
    if noted.get("url") != url or not mark or mark.startswith("W/"):
        return 0, {}
    return size, {"Range": f"bytes={size}-", "If-Range": mark}
