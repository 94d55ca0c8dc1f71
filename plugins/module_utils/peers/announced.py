"""Checks the first node's announcement against the trainer's contract. Pure.

The first node holds the run's secret but may be compromised. Its names must not become paths outside the checkpoint's
folder, and its sizes are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..checkpoints.errors import PeersError
from ..trainer.checkpoint import FORMS, OPTIMIZER, STATE_FILES, is_of_a_save, shards_of

STEPS = 10**7  # the trainer writes a step in seven digits
SHARDS = 10**5
ATTEMPT = re.compile(r"[0-9a-f]{1,64}")
MARK = re.compile(r"[0-9a-f]{64}")
SMALL = 1 << 30  # bytes; scheduler.pt and data_status.pt have a few thousand


@dataclass(frozen=True)
class File:
    """`size` in bytes, `mark` of both its ends."""

    name: str
    size: int
    mark: str


@dataclass(frozen=True)
class Announced:
    """The start that the first node offers. step None: the run begins anew."""

    attempt: str
    step: int | None
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        return sum(one.size for one in self.files)


def announced(answer: Mapping[str, Any], shards: int = 0, limit: int = 0) -> Announced:
    """The answer to /start. `shards`, `limit` (bytes of a whole checkpoint): as the plan expects them, 0 for not known.

    Raises PeersError for what the contract does not know.
    """
    attempt, step, listed = answer.get("attempt"), answer.get("step"), answer.get("files")
    if not isinstance(attempt, str) or not ATTEMPT.fullmatch(attempt):
        raise _foreign(f"attempt {attempt!r}", "up to 64 hexadecimal digits")
    if step is None:
        return Announced(attempt, None, ())
    if not _is_number(step, STEPS):
        raise _foreign(f"step {step!r}", "a number of seven digits at most")
    if not isinstance(listed, list) or len(listed) > SHARDS:
        raise _foreign("no list of files", "the files of a checkpoint")
    files = tuple(_file(entry) for entry in listed)
    _check_names([one.name for one in files], shards)
    found = Announced(attempt, step, files)
    if limit and found.size > limit:
        raise _foreign(f"{found.size} bytes", f"{limit} bytes at most, by the model's size")
    return found


def _file(entry: Any) -> File:
    if not isinstance(entry, Mapping):
        raise _foreign(repr(entry), "name, size and mark of a file")
    name, size, mark = entry.get("name"), entry.get("size"), entry.get("mark")
    if not isinstance(name, str) or not is_of_a_save(name):
        raise _foreign(f"the file name {name!r}", "a file that the trainer writes into a checkpoint")
    if not isinstance(size, int) or not _is_number(size, SMALL if name in STATE_FILES else 1 << 63):
        raise _foreign(f"{name} of {size!r} bytes", "a size that such a file can have")
    if not isinstance(mark, str) or not MARK.fullmatch(mark):
        raise _foreign(f"the mark {mark!r} of {name}", "64 hexadecimal digits")
    return File(name, size, mark)


def _check_names(names: list[str], shards: int) -> None:
    """Each once, of one form of a save, and of the optimizer the parts 0 to n-1 of n."""
    parts = [(int(match[1]), int(match[2])) for name in names if (match := OPTIMIZER.fullmatch(name))]
    forms = [form for form, models in FORMS.items() if set(models) & set(names)]
    count = shards_of(forms[0], shards or len(parts)) if forms else shards or len(parts)
    whole = len(forms) < 2 and len(set(names)) == len(names)
    if not whole or sorted(parts) != [(index, count) for index in range(count)]:
        raise _foreign(", ".join(names)[:300] or "no file", f"each file once, and {count} parts of the optimizer")


def _is_number(value: Any, below: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def _foreign(found: str, expected: str) -> PeersError:
    return PeersError(
        "the first node announces a checkpoint that this run cannot have",
        found=found[:400],
        expected=expected,
        remedy=(
            "converge all nodes of the run together; if it happens again, another program answers at the "
            "first node's address"
        ),
    )
