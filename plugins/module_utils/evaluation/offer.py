"""What a host offers of its evaluation: files with size and SHA-256, and their bytes in pieces.

The host reads as the account that owns the folder. For the controller an offer is an answer like any other: `checked`
lets through the names of folder.py alone, and bounded sizes and counts.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass

from ..core.errors import FleetError
from ..findings.finding import finding
from ..system import files, folders
from ..system.digests import running
from ..system.reach import whose
from .folder import ABOUT, FILE, PICTURE, PICTURES, ROWS, SMALL, SUBJECT, SUBJECTS
from .wire import MODES

LOSSES = "losses.csv"  # of the run; it lies beside the folder
QUESTIONS = "rows"
PICTURE_BYTES = 16 << 20
LOSSES_BYTES = 16 << 20
FILES = 60_000  # of an offer
BYTES = 32 << 30  # of an offer
PIECE = 3 << 18  # bytes; as base64 it is the longest text that an answer may have (wire.TEXT)
CALL = 6 << 20  # bytes of the pieces of one answer
PIECES = 2_000  # of one answer
DIGEST = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(
    rf"{LOSSES}|(?:{QUESTIONS}|(?:{SUBJECT.pattern})/(?:{'|'.join(MODES)}))/"
    rf"(?:{re.escape(ABOUT)}|{re.escape(ROWS)}|{PICTURES}/{PICTURE.pattern})"
)


@dataclass(frozen=True)
class File:
    """A file of the evaluation. `sha256`: of its first `size` bytes; rows are added meanwhile."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Offer:
    """`left_out`: how many files are larger than they may be, or too many."""

    files: tuple[File, ...] = ()
    left_out: int = 0


@dataclass(frozen=True)
class Piece:
    """Which bytes of which file are asked for."""

    name: str
    at: int
    size: int


@contextmanager
def acting_as_owner(folder: str) -> Iterator[None]:
    """On the host: a link in the account's folder leads to nothing of root's. Of an absent folder nothing is read."""
    account = None
    with suppress(OSError):
        account = whose(folder)
    with account.acting() if account else nullcontext():
        yield


def most_of(name: str) -> int:
    """Bytes that the file may have."""
    if name == LOSSES:
        return LOSSES_BYTES
    return {ABOUT: SMALL, ROWS: FILE}.get(os.path.basename(name), PICTURE_BYTES)


def offer(folder: str, results: str) -> Offer:
    """On the host; nothing where there is no evaluation. Reads every file once."""
    found: list[File] = []
    left_out = total = 0
    for name in _names(folder):
        path = _path(folder, results, name)
        one = _file(path, name)
        if one is None:
            continue
        total += one.size
        if one.size > most_of(name) or len(found) == FILES or total > BYTES:
            left_out += 1
            continue
        found.append(one)
    return Offer(tuple(found), left_out)


def read(folder: str, results: str, wanted: Iterable[Piece]) -> tuple[str, ...]:
    """On the host: the pieces in base64, in order; what can no longer be read is empty. Raises FleetError."""
    given, left = [], CALL
    for piece in wanted:
        left -= piece.size
        if not NAME.fullmatch(piece.name) or not 0 < piece.size <= PIECE or piece.at < 0 or left < 0:
            raise FleetError("no such piece can be asked for", found=f"{piece.name} {piece.at} {piece.size}")
        data = b""
        with suppress(OSError):
            source, _size = files.open_plain(_path(folder, results, piece.name), follow=False)
            with source:
                source.seek(piece.at)
                data = source.read(piece.size)
        given.append(base64.b64encode(data).decode())
    return tuple(given)


def _names(folder: str) -> Iterator[str]:
    """Of files that may be there; the losses come last, and only beside an evaluation."""
    tops = [QUESTIONS]
    tops += [f"{name}/{mode}" for name in _inside(folder)[:SUBJECTS] if SUBJECT.fullmatch(name) for mode in MODES]
    some = False
    for top in tops:
        there = _inside(f"{folder}/{top}")
        some = some or ABOUT in there
        yield from (f"{top}/{name}" for name in (ABOUT, ROWS) if name in there)
        pictures = _inside(f"{folder}/{top}/{PICTURES}") if PICTURES in there else []
        yield from (f"{top}/{PICTURES}/{name}" for name in pictures if PICTURE.fullmatch(name))
    if some:
        yield LOSSES


def _inside(folder: str) -> list[str]:
    with suppress(OSError):
        return sorted(folders.names(folder))
    return []


def _path(folder: str, results: str, name: str) -> str:
    return f"{results.rstrip('/') if name == LOSSES else folder.rstrip('/')}/{name}"


def _file(path: str, name: str) -> File | None:
    """The file as it is now; None for what is absent, a link, or no file. Of one that is too large no digest."""
    with suppress(OSError):
        source, size = files.open_plain(path, follow=False)
        with source:
            if size > most_of(name):
                return File(name, size, "")
            digest, done = running(), 0
            while block := source.read(min(files.BLOCK, size - done)):
                digest.update(block)
                done += len(block)
        return File(name, done, digest.hexdigest())
    return None


def checked(given: Offer) -> Offer:
    """On the controller. Raises FleetError (HOST_ANSWER_MALFORMED) for what no evaluation can hold."""
    names = [one.name for one in given.files]
    flaws = [f"{one.name} of {one.size} bytes" for one in given.files if not _sound(one)]
    if len(set(names)) != len(names) or len(names) > FILES:
        flaws.append(f"{len(names)} files, {len(set(names))} names")
    if (total := sum(one.size for one in given.files)) > BYTES:
        flaws.append(f"{total} bytes in all")
    if not flaws:
        return given
    expected = "files of an evaluation, of limited size"
    raise FleetError.of(finding("HOST_ANSWER_MALFORMED", found=f"the offer: {'; '.join(flaws[:3])}", expected=expected))


def _sound(one: File) -> bool:
    return bool(NAME.fullmatch(one.name) and DIGEST.fullmatch(one.sha256) and 0 <= one.size <= most_of(one.name))


def calls(lacking: Sequence[File], have: Mapping[str, int]) -> Iterator[list[Piece]]:
    """On the controller: what is asked for in each call. `have`: bytes of a file that are here already."""
    call: list[Piece] = []
    size = 0
    for one in lacking:
        for at in range(have.get(one.name, 0), one.size, PIECE):
            piece = Piece(one.name, at, min(PIECE, one.size - at))
            if len(call) == PIECES or size + piece.size > CALL:
                yield call
                call, size = [], 0
            call.append(piece)
            size += piece.size
    if call:
        yield call


def data_of(piece: Piece, text: str) -> bytes:
    """On the controller: the bytes of a piece. Raises FleetError for another number of them."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != piece.size:
        raise FleetError(
            "a file has become shorter",
            found=f"{piece.name}: {len(data)} of {piece.size} bytes at {piece.at}",
            remedy="run it again; the evaluation goes on meanwhile",
        )
    return data
