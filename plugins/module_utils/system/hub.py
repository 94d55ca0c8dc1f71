"""The hub, spoken to by huggingface_hub itself; runs in the agent environment.

The client's own download to a folder begins at byte 0 after it was killed, and leaves the old part lying. So its
http_get is given a part file of ours, which it continues by Range wherever the last run was cut.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ..core.errors import FleetError
from ..core.progress import log
from . import files

T = TypeVar("T")
RETRY = 2.0  # seconds before another attempt, growing to RETRY_MOST
RETRY_MOST = 20.0
FIRST_TIMEOUT = 60.0  # seconds, until the hub has answered once: a wrong address must not be waited for
BUSY = (408, 425, 429)
NOT_FOUND = {
    "RepositoryNotFoundError": "weights_repo",
    "HFValidationError": "weights_repo",
    "RevisionNotFoundError": "weights_revision",
    "RemoteEntryNotFoundError": "weights_files",
    "EntryNotFoundError": "weights_files",
}


@dataclass(frozen=True)
class HubFile:
    """One file of one revision. `etag`: sha256 (64 digits) of a large file, git's blob id (40) of a small one."""

    name: str
    size: int
    etag: str
    commit: str


class Hub:
    """`retry`: seconds without a byte after which a lost connection is an error."""

    def __init__(
        self,
        repo: str,
        revision: str,
        endpoint: str,
        token: str,
        retry: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        # Before the import: the client reads them once.
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        self._repo, self._revision, self._endpoint, self._token = repo, revision, endpoint.rstrip("/"), token
        self._timeout, self._sleep = retry, sleep
        self._reached = False

    def describe(self, name: str, revision: str = "") -> HubFile:
        """Size, digest and commit of a file. Raises FleetError for what the hub refuses."""
        found = self._patiently(lambda: self._metadata(name, revision or self._revision), lambda: 0)
        if not found.etag or found.size is None or not found.commit_hash:
            raise FleetError(
                "the hub does not give size, digest and commit of a file",
                variable="weights_endpoint",
                found=f"{name} at {self._endpoint}",
                remedy="use an endpoint that speaks the hub's protocol",
            )
        return HubFile(name, int(found.size), str(found.etag), str(found.commit_hash))

    def fetch(self, file: HubFile, part: Path) -> None:
        """Brings the file's bytes into `part`, going on where it ends."""
        files.open_part(part).close()
        self._patiently(lambda: self._continue(file, part), lambda: part.stat().st_size)

    def _continue(self, file: HubFile, part: Path) -> None:
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils._headers import build_hf_headers

        have = part.stat().st_size
        if have > file.size:
            files.remove(part)
            have = 0
        if have == file.size:
            return
        found = self._metadata(file.name, file.commit)
        headers = build_hf_headers(token=self._token or False)
        # Signed addresses of a storage elsewhere: the token is for the hub alone.
        there, hub = urlsplit(found.location), urlsplit(self._url(file.name, file.commit))
        if (there.scheme, there.netloc) != (hub.scheme, hub.netloc):
            headers.pop("authorization", None)
        # No part of ours is compressed: a Range of a compressed body would be another range.
        headers["Accept-Encoding"] = "identity"
        with files.open_part(part) as out:
            http_get(found.location, out, resume_size=have, headers=headers, expected_size=file.size)
            out.flush()
            os.fsync(out.fileno())

    def _url(self, name: str, revision: str) -> str:
        from huggingface_hub import hf_hub_url

        return str(hf_hub_url(self._repo, name, revision=revision, endpoint=self._endpoint))

    def _metadata(self, name: str, revision: str) -> Any:
        from huggingface_hub import get_hf_file_metadata

        return get_hf_file_metadata(self._url(name, revision), token=self._token or False)

    def _patiently(self, attempt: Callable[[], T], arrived: Callable[[], int]) -> T:
        """Tries again while the connection fails, until nothing has arrived for `retry` seconds."""
        last, since, pause = arrived(), time.monotonic(), RETRY
        while True:
            try:
                answer = attempt()
                self._reached = True
                return answer
            except Exception as error:
                refuse(error, self._repo, self._revision, self._endpoint)
                have = arrived()
                if have > last:
                    last, since, pause = have, time.monotonic(), RETRY
                retry = self._timeout if self._reached or last else min(self._timeout, FIRST_TIMEOUT)
                if time.monotonic() - since >= retry:
                    raise FleetError(
                        "the hub cannot be reached",
                        variable="weights_endpoint",
                        found=f"{self._endpoint}: {type(error).__name__}: {error}",
                        remedy="make sure that the host reaches the hub, or choose a mirror; the next converge "
                        "continues the download",
                    ) from error
                log(f"{type(error).__name__}: {error}; tries again")
                self._sleep(pause)
                pause = min(RETRY_MOST, pause * 1.5)


def refuse(error: Exception, repo: str, revision: str, endpoint: str) -> None:
    """Raises FleetError for what no second attempt would mend; returns for a connection that failed."""
    if isinstance(error, FleetError):
        raise error
    network = isinstance(error, (ConnectionError, TimeoutError))
    if isinstance(error, OSError) and error.errno is not None and not network:
        raise FleetError("the model folder cannot be written", variable="weights_dir", found=str(error)) from error
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        raise FleetError(
            "the host does not trust the hub's certificate",
            variable="fleet_ca_bundle",
            found=f"{endpoint}: {error}",
            remedy="behind a proxy that inspects TLS, name its certificate authority",
        ) from error
    kind = type(error).__name__
    status = getattr(getattr(error, "response", None), "status_code", 0)
    where = f"{repo} at {endpoint}"
    if status in (401, 403) or kind == "GatedRepoError":
        raise FleetError(
            "the hub refuses access to this model",
            variable="weights_token",
            found=f"{where}: HTTP {status}, no such repository or no right to read it",
            expected="a repository that can be read with weights_token, or without one",
        ) from error
    if kind in NOT_FOUND:
        found = f"{where}, revision {revision}: {str(error).splitlines()[0]}"
        raise FleetError("the hub does not have this", variable=NOT_FOUND[kind], found=found) from error
    if 400 <= status < 500 and status not in BUSY:
        raise FleetError("the hub refuses", variable="weights_endpoint", found=f"{where}: HTTP {status}") from error


@contextlib.contextmanager
def watched(part: Path, tell: Callable[[int], None], period: float = 0.5) -> Iterator[None]:
    """Report the size of the growing file twice a second while the block runs."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(period):
            with contextlib.suppress(OSError):
                tell(part.stat().st_size)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
