"""The depot's web server: a Hugging Face-compatible hub under /hf, and static folders. Standard library only.

Run on the depot's container as `python3 server.py --root /srv/depot --port 80`. It reads, never writes.
A file `rate` in the root holds bytes per second and connection (0 or no file: unlimited); `rate-ADDRESS` is for one
client alone. It is read again for each chunk, so that a test can slow a download that is under way. The variable
DEPOT_RATE is the default.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

STATIC = ("simple", "wheels", "channel", "files")
CHUNK = 64 * 1024
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".sh": "application/x-sh",
    ".zst": "application/zstd",
    ".parquet": "application/vnd.apache.parquet",
}
API = re.compile(r"/hf/api/models/([\w.-]+/[\w.-]+)(?:/(revision|tree)/([\w.-]+))?/?$")
RESOLVE = re.compile(r"/hf/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/([\w./-]+)$")


class HttpError(Exception):
    def __init__(self, status: HTTPStatus, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Span(NamedTuple):
    """Bytes first … last of a file, both included; partial when the client asked for a range."""

    first: int
    last: int
    partial: bool


def span(header: str | None, size: int) -> Span:
    """The bytes that a Range header asks for. Raises HttpError 416 for a range outside the file."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None or match.group(0) == "bytes=-":
        return Span(0, size - 1, False)  # an unknown unit or several ranges: the whole file, as RFC 9110 allows
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size - 1
    else:
        start, end = int(first), min(int(last or size - 1), size - 1)
    if start >= size or start > end:
        raise HttpError(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"the file has {size} bytes")
    return Span(start, end, True)


class Repo:
    """One model repository: repo.json beside blobs/<sha256>."""

    def __init__(self, root: Path, name: str, authorization: str | None) -> None:
        self.folder = root / "hf" / name
        try:
            self.data: dict[str, Any] = json.loads((self.folder / "repo.json").read_text())
        except OSError as error:
            raise HttpError(HTTPStatus.NOT_FOUND, f"no repository {name}", "RepoNotFound") from error
        token = self.data.get("token_sha256")
        given = (authorization or "").removeprefix("Bearer ").encode()
        if token and hashlib.sha256(given).hexdigest() != token:
            raise HttpError(HTTPStatus.UNAUTHORIZED, f"{name} needs a token", "GatedRepo")

    def commit(self, revision: str) -> str:
        sha = str(self.data["refs"].get(revision, revision))
        if sha not in self.data["commits"]:
            raise HttpError(HTTPStatus.NOT_FOUND, f"no revision {revision}", "RevisionNotFound")
        return sha

    def files(self, sha: str) -> dict[str, dict[str, Any]]:
        return dict(self.data["commits"][sha])

    def about(self, name: str, sha: str) -> dict[str, Any]:
        siblings = [{"rfilename": path} for path in self.files(sha)]
        return {"id": name, "modelId": name, "sha": sha, "private": False, "tags": [], "siblings": siblings}

    def tree(self, sha: str) -> list[dict[str, Any]]:
        entries = []
        for path, file in self.files(sha).items():
            entry = {"type": "file", "path": path, "size": file["size"], "oid": file["oid"]}
            if file["lfs"]:
                entry["lfs"] = {"oid": file["sha256"], "size": file["size"], "pointerSize": 134}
            entries.append(entry)
        return entries


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "canvas-depot"
    timeout = 60  # seconds a silent connection is kept
    root = Path("/srv/depot")
    log_file: Path | None = None

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        try:
            if path.startswith("/hf/"):
                self.hub(path)
            elif path == "/":
                self.text("canvas-fleet depot: " + " ".join(f"/{name}/" for name in ("hf", *STATIC)) + "\n")
            else:
                self.static(path)
        except HttpError as error:
            self.refuse(error)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def hub(self, path: str) -> None:
        authorization = self.headers.get("Authorization")
        if match := API.match(path):
            name, kind, revision = match.groups()
            repo = Repo(self.root, name, authorization)
            sha = repo.commit(revision or "main")
            self.json(repo.tree(sha) if kind == "tree" else repo.about(name, sha))
        elif match := RESOLVE.match(path):
            name, revision, file_name = match.groups()
            repo = Repo(self.root, name, authorization)
            sha = repo.commit(revision)
            file = repo.files(sha).get(file_name)
            if file is None:
                raise HttpError(HTTPStatus.NOT_FOUND, f"no file {file_name} in {name}", "EntryNotFound")
            headers = {"X-Repo-Commit": sha, "X-Linked-Size": str(file["size"])}
            if file["lfs"]:
                headers["X-Linked-Etag"] = f'"{file["sha256"]}"'
            etag = file["sha256"] if file["lfs"] else file["oid"]
            self.send_path(repo.folder / "blobs" / file["sha256"], etag, headers)
        else:
            raise HttpError(HTTPStatus.NOT_FOUND, "the hub has no such page")

    def static(self, path: str) -> None:
        parts = path.split("/")[1:]
        target = (self.root / path.lstrip("/")).resolve()
        inside = parts[0] in STATIC and target.is_relative_to((self.root / parts[0]).resolve())
        if inside and target.is_dir():
            if not path.endswith("/"):
                return self.redirect(path + "/")
            target = target / "index.html"
        if not inside or not target.is_file():
            raise HttpError(HTTPStatus.NOT_FOUND, f"no file {path}")
        stat = target.stat()
        return self.send_path(target, f"{stat.st_size:x}-{stat.st_mtime_ns:x}", {})

    def send_path(self, path: Path, etag: str, headers: dict[str, str]) -> None:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            part = span(self.headers.get("Range"), size)
            self.send_response(HTTPStatus.PARTIAL_CONTENT if part.partial else HTTPStatus.OK)
            self.send_header("Content-Type", TYPES.get(path.suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(part.last - part.first + 1))
            if part.partial:
                self.send_header("Content-Range", f"bytes {part.first}-{part.last}/{size}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{etag}"')
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                file.seek(part.first)
                self.pour(file, part.last - part.first + 1)

    def pour(self, file: Any, left: int) -> None:
        """Send `left` bytes, no faster than `rate` says at this moment."""
        while left > 0:
            rate = self.rate()
            chunk = file.read(min(left, CHUNK, max(1, rate // 8) if rate else CHUNK))
            if not chunk:  # the file became shorter: the client must notice
                self.close_connection = True
                return
            self.wfile.write(chunk)
            left -= len(chunk)
            if rate:
                time.sleep(len(chunk) / rate)

    def rate(self) -> int:
        for name in (f"rate-{self.client_address[0]}", "rate"):
            with suppress(OSError, ValueError):
                return int((self.root / name).read_text())
        return int(os.environ.get("DEPOT_RATE") or 0)

    def json(self, value: Any) -> None:
        self.text(json.dumps(value), "application/json")

    def text(self, text: str, kind: str = "text/plain; charset=utf-8", status: HTTPStatus = HTTPStatus.OK) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def redirect(self, location: str) -> None:
        self.send_response(HTTPStatus.MOVED_PERMANENTLY)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def refuse(self, error: HttpError) -> None:
        body = json.dumps({"error": str(error)}).encode()
        self.send_response(error.status)
        if error.code:
            self.send_header("X-Error-Code", error.code)
            self.send_header("X-Error-Message", str(error))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """One line a request into the access log, when one was asked for; nothing on the terminal."""
        if self.log_file is not None:
            headers = getattr(self, "headers", None)  # absent when the request line could not be parsed
            ranges = headers.get("Range", "-") if headers else "-"
            with self.log_file.open("a") as log:
                log.write(f"{self.client_address[0]} {ranges} {format % args}\n")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def make_server(root: Path, port: int, bind: str = "", log_file: Path | None = None) -> Server:
    handler = type("BoundHandler", (Handler,), {"root": root, "log_file": log_file})
    return Server((bind, port), handler)


def main() -> None:
    parser = argparse.ArgumentParser(description="The depot of the embedded fleet.")
    parser.add_argument("--root", type=Path, default=Path("/srv/depot"))
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--log", type=Path, default=None, help="access log, a line per request")
    arguments = parser.parse_args()
    with make_server(arguments.root.resolve(), arguments.port, log_file=arguments.log) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
