# SPDX-License-Identifier: Apache-2.0
"""A folder goes to a repository of the hub, by huggingface_hub itself, from the controller.

Files go one by one. What the hub has already, by its digest, is not sent again, so a push that was cut goes on at the
file where it ended. One commit at the end makes all of them visible together.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from logging import ERROR, getLogger
from typing import Any, BinaryIO, TypeVar, cast

from ..module_utils.core.errors import FleetError
from ..module_utils.core.progress import amount
from ..module_utils.system import files
from .retry import Clock

T = TypeVar("T")
OFFICIAL = "https://huggingface.co"
PAUSE, PAUSE_MOST = 2.0, 20.0  # seconds before another try
BUSY = (408, 425, 429)
LOGGERS = ("huggingface_hub", "httpx", "httpcore", "httpx2", "httpcore2", "urllib3")
AGAIN = "push again: what the hub has is not sent again"


@dataclass(frozen=True)
class Target:
    """`seconds`: for how long a lost connection is tried again."""

    repo: str
    endpoint: str
    private: bool
    seconds: float


class Push:
    """One repository. The token is in this process alone, and in no message of it."""

    def __init__(self, target: Target, token: str, show: Callable[[str], None], clock: Clock) -> None:
        _settle(target.endpoint)
        from huggingface_hub import HfApi

        self._target, self._show, self._clock = target, show, clock
        self._api = HfApi(endpoint=target.endpoint.rstrip("/"), token=token)

    def ready(self) -> bool:
        """Makes the repository where it is absent, and tells whether it did. Raises FleetError where the token may not
        write to it."""
        there = self._patiently(self._exists)
        if not there:
            self._patiently(
                lambda: self._api.create_repo(self._target.repo, private=self._target.private, exist_ok=True)
            )
        from huggingface_hub import CommitOperationAdd

        asked = CommitOperationAdd("README.md", b"-")
        # How it would be sent is what only those hear who may write. Nothing is sent.
        self._patiently(lambda: self._api.preupload_lfs_files(self._target.repo, [asked]))
        return not there

    def exists(self) -> bool:
        return self._patiently(self._exists)

    def _exists(self) -> bool:
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            self._api.repo_info(self._target.repo)
        except RepositoryNotFoundError as error:
            if _status(error) == 401:  # the token itself is wrong
                raise
            return False
        return True

    def push(self, folder: str, digests: Mapping[str, str], more: tuple[str, ...], words: str) -> dict[str, Any]:
        """The files of `digests` (SHA-256 by name) and `more` small ones. {"changed", "url", "commit"}."""
        before = str(self._patiently(lambda: self._api.repo_info(self._target.repo)).sha or "")
        additions = [self._addition(folder, name, digests.get(name, "")) for name in (*digests, *more)]
        for one in sorted(additions, key=lambda one: int(one.upload_info.size)):
            self._patiently(partial(self._send, one))
        commit = self._patiently(lambda: self._commit(additions, words))
        self._compare(commit, digests)
        return {"changed": commit != before, "commit": commit, "url": f"{self._api.endpoint}/{self._target.repo}"}

    def _addition(self, folder: str, name: str, digest: str) -> Any:
        made = _kind()(name, os.path.join(folder, name))
        if digest:
            made.upload_info.sha256 = bytes.fromhex(digest)  # or 29 GB would be read once more
        return made

    def _send(self, one: Any) -> None:
        large = one.upload_info.size > 1 << 24
        line = _Line(self._show, self._clock, one.path_in_repo, one.upload_info.size) if large else None
        one.heard = line.more if line else None
        if line:
            self._show(f"pushes {one.path_in_repo}  {amount(one.upload_info.size, 'B')}")
        self._api.preupload_lfs_files(self._target.repo, [one], num_threads=1)

    def _commit(self, additions: list[Any], words: str) -> str:
        for one in additions:  # the hub is asked anew what it has: the answer to a commit may have been lost
            one._upload_mode, one._is_uploaded, one._is_committed = None, False, False
        return str(self._api.create_commit(self._target.repo, additions, commit_message=words).oid)

    def _compare(self, commit: str, digests: Mapping[str, str]) -> None:
        """The hub says for each large file which content it has."""
        found = self._patiently(lambda: self._api.get_paths_info(self._target.repo, list(digests), revision=commit))
        there = {one.path: str(getattr(getattr(one, "lfs", None), "sha256", "")) for one in found}
        wrong = [name for name, digest in digests.items() if there.get(name, "lacking") not in ("", digest)]
        if wrong:
            raise FleetError(
                "the hub has other content than was pushed",
                found=f"{', '.join(wrong[:3])} in {self._target.repo}, commit {commit}",
                expected="the digests of SHA256SUMS",
                remedy=AGAIN,
            )

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Tries again while the connection fails."""
        since, pause = self._clock.monotonic(), PAUSE
        while True:
            try:
                return attempt()
            except Exception as error:
                refuse(error, self._target)
                if self._clock.monotonic() - since >= self._target.seconds:
                    raise FleetError(
                        "the hub cannot be reached",
                        variable="export_push_endpoint",
                        found=f"{self._target.endpoint}: {_words(error)}",
                        remedy=AGAIN,
                    ) from None
                self._show(f"the connection to the hub is lost ({type(error).__name__}); tries again")
                self._clock.sleep(pause)
                pause = min(PAUSE_MOST, pause * 1.5)


class _Line:
    """A line now and then, while a large file is read by whoever sends it."""

    EVERY = 30.0

    def __init__(self, show: Callable[[str], None], clock: Clock, name: str, size: int) -> None:
        self._show, self._clock, self._name, self._size = show, clock, name, size
        self._last, self._done = clock.monotonic(), 0

    def more(self, at: int) -> None:
        now = self._clock.monotonic()
        if now - self._last >= self.EVERY:
            rate = max(0, at - self._done) / (now - self._last)
            done = f"{amount(at, 'B')} of {amount(self._size, 'B')}"
            self._show(f"pushes {self._name}  {done}  {amount(rate, 'B')}/s")
            self._last, self._done = now, at


class _Heard(io.BufferedReader):
    """Tells how far it was read."""

    heard: Callable[[int], None] | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self.heard:
            self.heard(self.tell())
        return data


def _kind() -> Any:
    """huggingface_hub's own addition, whose file tells how far it was read."""
    from huggingface_hub import CommitOperationAdd

    class Addition(CommitOperationAdd):
        heard: Callable[[int], None] | None = None

        @contextmanager
        def as_file(self, with_tqdm: bool = False) -> Iterator[BinaryIO]:
            source, _size = files.open_plain(str(self.path_or_fileobj), follow=False)
            with _Heard(cast("io.BufferedReader", source).detach()) as reader:
                reader.heard = self.heard
                yield reader

    return Addition


def _settle(endpoint: str) -> None:
    """What the client reads once, before its import. Its own messages name addresses that are signed."""
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_VERBOSITY"] = "error"
    from huggingface_hub import constants
    from huggingface_hub.utils import logging

    logging.set_verbosity(ERROR)
    for name in LOGGERS:  # Ansible's log_path takes what they say
        getLogger(name).setLevel(ERROR)
    # The official hub takes Xet, which sends parts that it lacks. A mirror knows the older way alone.
    constants.HF_HUB_DISABLE_XET = endpoint.rstrip("/") != OFFICIAL


def refuse(error: Exception, target: Target) -> None:
    """Raises FleetError for what no second attempt would mend; returns for a connection that failed."""
    if isinstance(error, FleetError):
        raise error
    where, status = f"{target.repo} at {target.endpoint}", _status(error)
    if "CERTIFICATE_VERIFY_FAILED" in _words(error):
        raise FleetError(
            "the controller does not trust the hub's certificate",
            variable="export_push_endpoint",
            found=where,
            remedy="behind a proxy that inspects TLS, set SSL_CERT_FILE to its certificate authority",
        ) from None
    if status in (401, 403):
        raise FleetError(
            "the hub refuses the token",
            variable="export_push_token",
            found=f"{where}: HTTP {status}",
            expected="a token with the right to write to export_push_to",
            remedy="make one in the hub's settings (fine-grained: write to this repository), and keep it in a vault",
        ) from None
    if status == 404 or type(error).__name__ == "HFValidationError":
        raise FleetError(
            "the hub does not have this repository, or does not let the token see it",
            variable="export_push_to",
            found=f"{where}: {_words(error)[:300]}",
            expected="user/name, of the account or an organisation of the token",
        ) from None
    if 400 <= status < 500 and status not in BUSY:
        found = f"{where}: HTTP {status}: {_words(error)[:300]}"
        raise FleetError("the hub refuses the push", variable="export_push_to", found=found) from None
    if isinstance(error, (ValueError, TypeError, KeyError)) and not status:
        raise FleetError("the hub answers what its client does not understand", found=f"{where}: {_words(error)[:300]}")
    network = isinstance(error, (ConnectionError, TimeoutError))
    if isinstance(error, OSError) and error.errno is not None and not network:
        raise FleetError("a file of the export cannot be read", found=_words(error)[:300]) from None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__


def _status(error: BaseException) -> int:
    for one in _chain(error):
        with suppress(Exception):
            found = int(one.response.status_code)  # type: ignore[attr-defined]
            if found:
                return found
    return 0


def _words(error: BaseException) -> str:
    """What the hub or the connection said, without addresses: an upload's is signed."""
    last = list(_chain(error))[-1]
    text = " ".join(str(last).split()) or type(last).__name__
    return " ".join(word if "://" not in word else "(address)" for word in text.split())
