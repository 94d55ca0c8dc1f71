"""data_status.pt: which loader workers a checkpoint knows of (MathCanvas cc48f16, train/fsdp_utils.py).

torch.save writes a pickle in an archive. It is never unpickled: a pickle of a hundred bytes can ask for gigabytes. Its
operations are read one by one, and those that make numbers, texts, lists and mappings are all that is known.
"""

from __future__ import annotations

import contextlib
import io
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

from ..system import files, limits

RANKS = 65_536  # and workers of a rank; each is counted once
# What a file that is cut, or something else, makes of zipfile and pickletools.
_BROKEN = (OSError, ValueError, TypeError, AttributeError, LookupError, RuntimeError, NotImplementedError,
           OverflowError, EOFError, zipfile.BadZipFile)  # fmt: skip


def workers(path: str, group: str) -> list[list[int]] | None:
    """The loader workers that the file knows of, by rank; None when it is not there or cannot be read.

    The trainer writes [{group: {worker: [row group, row]}}], one mapping for each rank.
    """
    with contextlib.suppress(*_BROKEN):
        ranks = plain(_pickle(files.read(path, limits.STATUS_BYTES)))
        if not isinstance(ranks, list) or len(ranks) > RANKS:
            return None
        found, left = [], RANKS
        for rank in ranks:  # a rank that has nothing of the group begins its data anew, and looks nothing up
            known = (rank or {}).get(group, {})
            left -= len(known)
            if left < 0:
                return None
            found.append(sorted(int(worker) for worker in known))
        return found
    return None


def _pickle(data: bytes) -> bytes:
    """The pickle in the archive. Raises ValueError and others of _BROKEN."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        inside = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
        if len(inside) != 1 or inside[0].compress_type != zipfile.ZIP_STORED or inside[0].file_size > len(data):
            raise ValueError("no archive of torch.save")
        return archive.read(inside[0])


class _Stack:
    """The stack machine of a pickle."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.marks: list[int] = []

    def taken(self, number: int) -> list[Any]:
        """The last values, or those since the mark (-1)."""
        at = self.marks.pop() if number < 0 else len(self.values) - number
        if at < 0:
            raise ValueError("too few values")
        found = self.values[at:]
        del self.values[at:]
        return found

    def tuple(self, number: int) -> None:
        self.values.append(tuple(self.taken(number)))

    def extend(self, number: int) -> None:
        more = self.taken(number)
        self.values[-1].extend(more)

    def update(self, number: int) -> None:
        more = self.taken(number)
        self.values[-1].update(zip(more[::2], more[1::2]))

    def mark(self, _number: int) -> None:
        self.marks.append(len(self.values))


def plain(data: bytes) -> Any:
    """The value of a pickle that holds plain data. Raises ValueError and others of _BROKEN for any other."""
    stack = _Stack()
    memo: dict[Any, Any] = {}
    for operation, argument, _unused in pickletools.genops(data):
        name = operation.name
        if name == "STOP":
            return stack.values.pop()
        if name in VALUES:
            stack.values.append(argument)
        elif name in CONSTANTS:
            stack.values.append(CONSTANTS[name]())
        elif name in GATHER:
            gather, number = GATHER[name]
            gather(stack, number)
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack.values[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.values.append(memo[argument])
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"{name} in a data status")
    raise ValueError("no end")


VALUES = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINFLOAT"}
)
CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
GATHER: Mapping[str, tuple[Callable[[_Stack, int], None], int]] = {
    "MARK": (_Stack.mark, 0),
    "APPEND": (_Stack.extend, 1),
    "APPENDS": (_Stack.extend, -1),
    "SETITEM": (_Stack.update, 2),
    "SETITEMS": (_Stack.update, -1),
    "TUPLE": (_Stack.tuple, -1),
    **{f"TUPLE{size}": (_Stack.tuple, size) for size in (1, 2, 3)},
}
