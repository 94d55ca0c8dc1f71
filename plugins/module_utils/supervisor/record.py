"""The supervisor's records: state of the training, reason of a failed start, failures in a row.

    <record>/            root's: spec.json, started, ended, finished, kernel
    <record>/own/        the training user's
        state.json       how it stands now, at most once a second
        failure.json     why the last start failed; absent when it did not
        tries.json       how many starts failed since one made a save
        errors.log       the trainer's error stream of the last start; .1 and .2 are older

Readers are root and must not trust the folder: links are not followed, sizes are bounded, types are checked.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any

from ..core import wire
from ..system import files
from ..trainer.failures import Failure

READ_LIMIT = 1 << 18  # bytes
KERNEL_LINES = 20


class Record:
    """The supervisor's side. A disk that is full costs the record, not the training: nothing here raises OSError."""

    def __init__(self, folder: str, invocation: str) -> None:
        self.folder, self._invocation = folder, invocation
        self.flaw = ""  # why the last write failed

    def state(self, values: Mapping[str, Any]) -> None:
        """`monotonic` is the time of writing; a reader on the same host computes the age from it."""
        self._write("state.json", {**values, "monotonic": time.monotonic()})

    def failed(self, failure: Failure, retry: bool, stage: str) -> None:
        self._write("failure.json", {**wire.to_dict(failure), "retry": retry, "stage": stage})

    def forget_failure(self) -> None:
        self._remove("failure.json")

    def tries(self) -> int:
        count = read(f"{self.folder}/tries.json").get("count")
        return count if isinstance(count, int) and 0 <= count < 1000 else 0

    def tried(self, count: int) -> None:
        if count:
            self._write("tries.json", {"count": count})
        else:
            self._remove("tries.json")

    def _write(self, name: str, values: Mapping[str, Any]) -> None:
        path = f"{self.folder}/{name}"
        try:
            # A file name that is not UTF-8 is written with ?.
            text = json.dumps({**values, "invocation": self._invocation}, ensure_ascii=False)
            files.write(path, text.encode("utf-8", "replace"), durable=False)
            self.flaw = ""
        except OSError as error:
            self.flaw = str(error)

    def _remove(self, name: str) -> None:
        try:
            files.remove(f"{self.folder}/{name}")
        except OSError as error:
            self.flaw = str(error)


def read(path: str) -> dict[str, Any]:
    """A small JSON object; {} for what is absent, foreign or broken."""
    return files.load(path, READ_LIMIT, follow=False)


def failure_from(found: Mapping[str, Any]) -> Failure | None:
    """The failure that failure.json holds; None when it holds none."""
    kind, line, lines, rank = (found.get(name) for name in ("kind", "line", "lines", "rank"))
    if not isinstance(kind, str) or not kind or not isinstance(line, str):
        return None
    excerpt = tuple(str(one)[:300] for one in lines[:40]) if isinstance(lines, list) else ()
    return Failure(kind[:60], line[:300], excerpt, rank if isinstance(rank, int) else None)


def kernel_failure(record: str) -> Failure | None:
    """A GPU that fell off the bus while the last start died, from the kernel's lines that root wrote down."""
    lines = files.text(f"{record}/kernel", follow=False).splitlines()
    lost = [line for line in lines if re.search(r"NVRM: Xid\b.*: 79,", line)]
    return Failure("GPU_LOST", lost[-1][-300:], tuple(line[-300:] for line in lines[-KERNEL_LINES:])) if lost else None
