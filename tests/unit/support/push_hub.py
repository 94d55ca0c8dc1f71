"""A stand-in of the hub that can be pushed to. It speaks the hub's own protocol, as huggingface_hub calls it: create,
preupload, LFS batch (one part or several), upload, verify, commit, paths-info. Nothing of it is the real hub."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN, READER = "hf_" + "W" * 34, "hf_" + "R" * 34
PART = 40_000  # bytes of a part of an upload of several


@dataclass
class Hub:
    """`cut`: after so many bytes of uploads in all the connections end. `parts`: large files come in parts."""

    address: str = ""
    private: dict[str, bool] = field(default_factory=dict)  # by repository
    blobs: dict[str, bytes] = field(default_factory=dict)  # by SHA-256
    commits: list[dict[str, str]] = field(default_factory=list)  # SHA-256 by name, of each commit
    regular: dict[str, str] = field(default_factory=dict)  # git's ids of the small ones
    asked: list[str] = field(default_factory=list)
    received: int = 0
    cut: int = 0
    parts: bool = False
    uploaded: dict[str, bytes] = field(default_factory=dict)
    spoils: bool = False
    lose_commit: bool = False  # the answer to the first commit is lost

    @property
    def head(self) -> str:
        return hashlib.sha1(
            json.dumps([len(self.commits), self.commits], sort_keys=True).encode(), usedforsecurity=False
        ).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.hub.asked.append(f"{method} {path}")
        if method == "PUT":
            return self._upload(path, parse_qs(url.query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        signed = "X-Amz-Signature" in url.query  # as the end of an upload in parts
        if given not in (TOKEN, READER) and not signed:
            return self._refuse(401, "", f"Invalid credentials: {given}")
        if path == "/api/validate-yaml":
            front = json.loads(body)["content"].split("---")
            return self._json({"errors": [], "warnings": []}, 200 if len(front) >= 3 else 400)
        if path == "/api/repos/create":
            return self._create(json.loads(body), given)
        for pattern, act in ROUTES.items():
            if match := re.fullmatch(pattern, path):
                if match[1] not in self.hub.private:
                    return self._refuse(404, "RepoNotFound", "Repository not found")
                if given == READER and act not in (Handler._about, Handler._paths):
                    return self._refuse(403, "", "Forbidden: pass a token with the right to write")
                return act(self, match[1], body)
        return self._refuse(404, "", f"no such page: {path}")

    def _create(self, asked: dict[str, Any], given: str) -> None:
        if given == READER:
            return self._refuse(403, "", "Forbidden: no right to make repositories")
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.private:
            return self._refuse(409, "", "You already created this model repo")
        self.hub.private[name] = asked.get("visibility") == "private"
        return self._json({"url": f"{self.hub.address}/{name}", "name": name})

    def _about(self, name: str, _body: bytes) -> None:
        self._json({"id": name, "sha": self.hub.head, "private": self.hub.private[name], "tags": [], "siblings": []})

    def _preupload(self, _name: str, body: bytes) -> None:
        latest = self.hub.commits[-1] if self.hub.commits else {}
        files = []
        for one in json.loads(body)["files"]:
            lfs = one["path"].endswith(".safetensors") or one["size"] > 10 << 20
            oid = latest.get(one["path"]) if lfs else self.hub.regular.get(one["path"])
            mode = "lfs" if lfs else "regular"
            files.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._json({"files": files})

    def _batch(self, _name: str, body: bytes) -> None:
        objects = []
        for one in json.loads(body)["objects"]:
            entry: dict[str, Any] = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.blobs:
                here = f"{self.hub.address}/storage/{one['oid']}?X-Amz-Signature=5161e7"
                upload: dict[str, Any] = {"href": here}
                if self.hub.parts:
                    number = -(-one["size"] // PART)
                    upload["href"] = f"{self.hub.address}/canvas/model.git/complete/{one['oid']}?X-Amz-Signature=5161e7"
                    parts = {str(part + 1): f"{here}&part={part}" for part in range(number)}
                    upload["header"] = {"chunk_size": str(PART), **parts}
                verify = {"href": f"{self.hub.address}/canvas/model.git/verify"}
                entry["actions"] = {"upload": upload, "verify": verify}
            objects.append(entry)
        self._json({"transfer": "basic", "objects": objects})

    def _upload(self, path: str, query: dict[str, list[str]]) -> None:
        """No token comes here: the address is signed."""
        assert "Authorization" not in self.headers
        left, data = int(self.headers["Content-Length"]), b""
        while left:
            block = self.rfile.read(min(left, 10_000))
            self.hub.received += len(block)
            if not block or (self.hub.cut and self.hub.received > self.hub.cut):
                self.close_connection = True
                self.connection.close()
                return
            data, left = data + block, left - len(block)
        oid = path.rpartition("/")[2]
        if "part" in query:
            self.hub.uploaded[f"{oid} {query['part'][0]}"] = data
        else:
            self.hub.blobs[oid] = data
        self._json({}, etag=hashlib.md5(data, usedforsecurity=False).hexdigest())

    def _complete(self, _name: str, body: bytes) -> None:
        asked = json.loads(body)
        pieces = [self.hub.uploaded[f"{asked['oid']} {one['partNumber'] - 1}"] for one in asked["parts"]]
        self.hub.blobs[asked["oid"]] = b"".join(pieces)
        self._json({})

    def _verify(self, _name: str, body: bytes) -> None:
        asked = json.loads(body)
        found = self.hub.blobs.get(asked["oid"], b"")
        right = hashlib.sha256(found).hexdigest() == asked["oid"] and len(found) == asked["size"]
        self._json({} if right else {"error": "another content"}, 200 if right else 422)

    def _commit(self, name: str, body: bytes) -> None:
        latest = dict(self.hub.commits[-1]) if self.hub.commits else {}
        for line in body.splitlines():
            one = json.loads(line)
            value = one["value"]
            if one["key"] == "file":
                data = base64.b64decode(value["content"])
                latest[value["path"]] = hashlib.sha256(data).hexdigest()
                self.hub.blobs[latest[value["path"]]] = data
                blob = f"blob {len(data)}\0".encode() + data
                self.hub.regular[value["path"]] = hashlib.sha1(blob, usedforsecurity=False).hexdigest()
            if one["key"] == "lfsFile":
                assert value["oid"] in self.hub.blobs, "a commit of what was not uploaded"
                latest[value["path"]] = value["oid"]
        self.hub.commits.append(latest)
        if self.hub.lose_commit:
            self.hub.lose_commit, self.close_connection = False, True
            self.connection.close()
            return
        commit = self.hub.head
        self._json({"commitUrl": f"{self.hub.address}/{name}/commit/{commit}", "commitOid": commit})

    def _paths(self, _name: str, body: bytes) -> None:
        latest = self.hub.commits[-1]
        found = []
        for path in parse_qs(body.decode())["paths"]:
            data = self.hub.blobs[latest[path]]
            entry = {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
            if path not in self.hub.regular:
                digest = "0" * 64 if self.hub.spoils else latest[path]
                entry["lfs"] = {"oid": digest, "sha256": digest, "size": len(data), "pointerSize": 134}
            found.append(entry)
        self._json(found)

    def _json(self, value: Any, status: int = 200, etag: str = "") -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str, words: str) -> None:
        body = json.dumps({"error": words}).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", words)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


NAME = r"([\w.-]+/[\w.-]+?)"
ROUTES = {
    rf"/api/models/{NAME}(?:/revision/\w+)?": Handler._about,
    rf"/api/models/{NAME}/preupload/main": Handler._preupload,
    rf"/{NAME}\.git/info/lfs/objects/batch": Handler._batch,
    rf"/{NAME}\.git/complete/\w+": Handler._complete,
    rf"/{NAME}\.git/verify": Handler._verify,
    rf"/api/models/{NAME}/commit/main": Handler._commit,
    rf"/api/models/{NAME}/paths-info/\w+": Handler._paths,
}


@contextmanager
def served() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
