"""Long work on a host: its record folder and its transient systemd unit.

    <state_dir>/work/<name>/   root's
        payload.zip            the code, copied from the module's own payload
        spec.json              worker, spec, digest, request_id; no secrets
        own/                   0700, the work's user's: what root reads here is that user's word
            progress.json      see progress.py
            result.json        only when the work ended by itself
            log                what the work printed
            <worker>/          the work's own record (records.py)
    /run/canvas-work/<name>/private.json   secrets and environment, 0600, removed by the work once it has read them
                            result.json    where the disk of own/ is full

The unit is canvas-work-<name>. A unit that ended without a result was killed, or the host went down. The work is then
started again, because every work can be interrupted anywhere.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..core.errors import FleetError
from ..machine.long_work import FOLDER, LIMIT, NAME, OWN, PROGRESS, RESULT, UNIT
from ..system import files, folders
from ..system.digests import sha256
from ..system.payload import account, payload, provide_folder
from ..system.units import UnitState
from . import records

PRIVATE_ROOT = Path("/run/canvas-work")
SYSTEM_CA = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO")


@dataclass(frozen=True)
class JobSpec:
    """The spec of a work. Equal digests are the same work; secrets are not in the digest."""

    name: str
    worker: str
    spec: Mapping[str, Any]
    user: str
    python: str
    request_id: str = ""  # who asked: one call of the action; its retries carry the same request_id
    secrets: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    folders: Sequence[str] = ()  # made for the user where they are absent

    @property
    def digest(self) -> str:
        text = json.dumps([self.worker, self.spec, self.user, self.python], sort_keys=True)
        return sha256(text)


ENTRY = "work/entry.py"  # the program of a work unit


class Units(Protocol):
    """The service manager, as far as it is needed here."""

    def state(self, unit: str) -> UnitState: ...
    def start(self, unit: str, properties: Sequence[str], argv: Sequence[str]) -> None: ...
    def stop(self, unit: str) -> None: ...
    def forget(self, unit: str) -> None: ...
    def last_lines(self, unit: str) -> list[str]: ...


class JobRunner:
    """Starts, watches and ends the work of one name on this host."""

    def __init__(self, state_dir: Path, name: str, units: Units, private_root: Path = PRIVATE_ROOT) -> None:
        if not re.fullmatch(NAME, name):
            raise FleetError("the name of a work is part of a unit's name", variable="name", found=name)
        self.unit = f"{UNIT}{name}"
        self._record = state_dir / FOLDER / name
        self._own = self._record / OWN
        self._private = private_root / name
        self._units = units

    def started(self, job: JobSpec) -> dict[str, Any]:
        """Starts the work, or attaches to the one that runs; another work under this name is stopped first."""
        with self._locked():
            same = self._job().get("digest") == job.digest
            answered = same and job.request_id and self._result().get("request_id") == job.request_id
            running = self._units.state(self.unit).runs
            if answered or (running and same):
                return {**self.polled(job.digest), "started": False}
            if running:
                self._units.stop(self.unit)
            self._start(job)
        return {**self.polled(job.digest), "started": True}

    def polled(self, digest: str) -> dict[str, Any]:
        """{"phase": running | ended | killed | replaced | none, "progress", "now", "unit", and when it is over
        "result" or "unit_result", "log"}."""
        unit = self._units.state(self.unit)  # before the result is read: a unit ends after it has written it
        job, result = self._job(), self._result()
        seen: dict[str, Any] = {"progress": self._said(PROGRESS), "now": time.time(), "unit": self.unit}
        if not job:
            return {**seen, "phase": "none"}
        if digest and job.get("digest") != digest:
            return {**seen, "phase": "replaced"}
        if unit.runs:
            return {**seen, "phase": "running"}
        self._forget_private()
        records.take(str(job["worker"]), job["spec"], self._own)
        if result.get("digest") == job["digest"]:
            return {**seen, "phase": "ended", "result": result, "log": self._log_tail()}
        return {**seen, "phase": "killed", "unit_result": unit.result, "log": self._log_tail()}

    def absent(self, check: bool) -> bool:
        """Stops the work and removes its record; True when there was something to remove."""
        running, kept = self._units.state(self.unit).runs, self._record.exists()
        if not check and (running or kept):
            with self._locked():
                self._units.stop(self.unit)
                self._units.forget(self.unit)
                folders.remove_tree(self._private)
                job = self._job()
                records.take(str(job.get("worker")), job.get("spec", {}), self._own)
                folders.remove_tree(self._record)
        return running or kept

    def _start(self, job: JobSpec) -> None:
        owner = account(job.user)
        if not os.access(job.python, os.X_OK):
            raise FleetError(
                "the interpreter of the work is not there",
                variable="python",
                found=f"no program at {job.python}",
                remedy="run the role that makes this environment first",
            )
        self._units.forget(self.unit)
        for path in map(Path, job.folders):
            provide_folder(path, owner)
        if folders.is_anothers(self._record):
            folders.remove_tree(self._record)  # of version 0.1, the user's; what was cut goes on from other records
        for place in (self._record, self._private.parent):
            folders.make_open(place)
        if os.path.lexists(self._own) and os.lstat(self._own).st_uid != owner.uid:
            folders.remove_tree(self._own)  # of an account before
        folders.remove_tree(self._private)
        for place in (self._own, self._private):  # the folders above belong to root, so no account can replace it
            folders.make(place, owner, 0o700)
        records.hand_over(job.worker, job.spec, self._own, owner)
        for name in (RESULT, PROGRESS, "log"):
            folders.remove_tree(self._own / name)  # the account may have made a folder of this name
        public = {"worker": job.worker, "spec": job.spec, "digest": job.digest, "request_id": job.request_id}
        private = {"secrets": job.secrets, "environment": job.environment}
        files.write(self._record / "payload.zip", payload(ENTRY), durable=False)
        files.write(self._record / "spec.json", json.dumps(public, sort_keys=True).encode(), durable=False)
        files.write(self._private / "private.json", json.dumps(private).encode(), 0o600, owner, durable=False)
        # Type=exec: a program that cannot be executed is an error of the start, not of the work.
        properties = [
            "Type=exec",
            f"User={job.user}",
            f"WorkingDirectory={self._record}",
            f"Description=canvas-fleet: {job.name}",
            "TimeoutStopSec=15",
            "UMask=0022",
        ]
        argv = [job.python, str(self._record / "payload.zip"), str(self._record), str(self._private / "private.json")]
        self._units.start(self.unit, properties, argv)

    def _job(self) -> dict[str, Any]:
        """Root's note of the start of the work; {} if the folder is not root's."""
        return {} if folders.is_anothers(self._record) else files.load(self._record / "spec.json")

    def _said(self, name: str) -> dict[str, Any]:
        return files.load(self._own / name, LIMIT, follow=False)

    def _result(self) -> dict[str, Any]:
        """In memory where the disk was full when the work ended."""
        return files.load(self._private / RESULT, LIMIT, follow=False) or self._said(RESULT)

    def _forget_private(self) -> None:
        """All but the result, which is asked for again when an answer is lost."""
        if not os.path.lexists(self._private / RESULT):
            folders.remove_tree(self._private)
            return
        for name in set(folders.names(self._private)) - {RESULT}:
            folders.remove_tree(self._private / name)

    def _log_tail(self) -> list[str]:
        lines = files.tail(self._own / "log", LIMIT).decode("utf-8", "replace").splitlines()
        return [line[-500:] for line in lines[-15:]] or self._units.last_lines(self.unit)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two controllers at once: the second finds what the first has started."""
        folder = self._record.parent
        for place in (folder.parent, folder):
            folders.make_open(place)
        with files.locked(folder / f".{self._record.name}.lock"):
            yield


def work_environment(own: Mapping[str, str], system_ca: bool) -> dict[str, str]:
    """The user's variables, and the host's CA store for the clients that would bring their own."""
    store = next((path for path in SYSTEM_CA if system_ca and os.path.isfile(path)), "")
    trust = dict.fromkeys(CA_VARIABLES, store) if store else {}
    return {**trust, **{name: str(value) for name, value in own.items()}}
