# SPDX-License-Identifier: Apache-2.0
"""The collected folder: what is brought of a host's evaluation, in the form in which it may lie here.

Pictures are encoded anew, lines are written anew from their declared types. `collected.json` says of which content of
the host a file was made, so that only what has changed is brought again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...module_utils.core import shown, wire
from ...module_utils.core.errors import FleetError
from ...module_utils.core.progress import Progress, line, reading
from ...module_utils.evaluation import offer as offers
from ...module_utils.evaluation.folder import ABOUT, MOST, PICTURES, ROWS
from ...module_utils.evaluation.offer import LOSSES, File, Offer, Piece
from ...module_utils.evaluation.wire import About, AnswerRow, LossRow, QuestionRow, RowsAbout
from ...module_utils.system import files, folders
from ...module_utils.system.digests import of_file
from ...module_utils.trainer.losses import Losses
from ..retry import Clock
from ..transfer import need_room
from .pictures import Budget, NoPictureError

RECORD = "collected.json"
LOCK = ".lock"
LINES, LINE = 2 * MOST, 1 << 20  # of a file of rows, and bytes of one; what is beyond is left out
EVERY = 10.0  # seconds between two lines on the terminal
Ask = Callable[[list[Piece]], Sequence[str]]


@dataclass(frozen=True)
class Record:
    """Digest of the host's content by name. "" for a picture that was none."""

    digests: Mapping[str, str]


class Folder:
    """The collected files at `path`."""

    def __init__(self, path: str, show: Callable[[str], None], clock: Clock) -> None:
        self.path, self._show, self._clock = path, show, clock
        self.bad: list[str] = []  # pictures that are none
        self._budget = Budget()
        found = wire.from_record(Record, files.load(f"{path}/{RECORD}", follow=False))
        self._known = dict(found.digests) if found else {}

    def lacking(self, offer: Offer) -> list[File]:
        """What is not here with the offered content."""
        return [one for one in offer.files if not self._has(one)]

    def _has(self, one: File) -> bool:
        return self._known.get(one.name) == one.sha256 and os.path.lexists(f"{self.path}/{one.name}")

    def bring(self, lacking: Sequence[File], ask: Ask) -> None:
        """All of them, piece by piece; what an earlier call left is gone on from. Raises FleetError."""
        with self._alone():
            self._bring(lacking, ask)

    def _bring(self, lacking: Sequence[File], ask: Ask) -> None:
        have = {one.name: min(self._part_size(one), one.size) for one in lacking}
        total, done, reported_at = sum(one.size for one in lacking), sum(have.values()), self._clock.monotonic()
        record: dict[str, Any] = {}
        progress = Progress(record.update, self._clock.monotonic)
        need_room(self.path, 2 * (total - done))
        wanted = {one.name: one for one in lacking}
        whole = [one for one in lacking if have[one.name] == one.size]
        for one in whole:
            self._take(one)
        try:
            for pieces in offers.calls(lacking, have):
                texts = ask(pieces)
                if len(texts) != len(pieces):
                    raise FleetError("the host gives other pieces than it was asked for", found=f"{len(texts)} pieces")
                for piece, text in zip(pieces, texts, strict=True):
                    self._add(piece, offers.data_of(piece, text))
                    if piece.at + piece.size == wanted[piece.name].size:
                        self._take(wanted[piece.name])
                done += sum(piece.size for piece in pieces)
                now = self._clock.monotonic()
                progress(done, total, "B", os.path.basename(pieces[-1].name))
                if now - reported_at >= EVERY:
                    self._show(line(reading(record, now)))
                    reported_at = now
        finally:
            files.save(f"{self.path}/{RECORD}", {"digests": self._known})

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two of them would write the same part."""
        folders.make(self.path)
        try:
            with files.locked(f"{self.path}/{LOCK}", wait=False):
                yield
        except BlockingIOError as error:
            raise FleetError(
                "another report of this run is under way",
                variable="evaluation_report_dir",
                found=self.path,
                expected="one at a time",
                remedy="wait for its end, or name another folder (-e evaluation_report_dir=…)",
            ) from error

    def _part(self, name: str) -> str:
        return f"{self.path}/{name}.part"

    def _part_size(self, one: File) -> int:
        try:
            return os.lstat(self._part(one.name)).st_size
        except OSError:
            return 0

    def _add(self, piece: Piece, data: bytes) -> None:
        folders.make(os.path.dirname(self._part(piece.name)))
        with files.open_part(self._part(piece.name)) as out:
            out.truncate(piece.at)
            out.seek(piece.at)
            out.write(data)

    def _take(self, one: File) -> None:
        """The part is whole: its content becomes the file, if it is the announced one."""
        part = self._part(one.name)
        if not one.size:
            files.write(part, b"", durable=False)
        if of_file(part) != one.sha256:
            files.remove(part)
            raise FleetError(
                "the content that came is not what the host announced",
                found=f"{one.name} ({one.size} bytes)",
                expected=f"sha256 {one.sha256}",
                remedy="run it again; the evaluation goes on meanwhile",
            )
        try:
            written = written_anew(one.name, files.read(part, one.size), self._budget)
            files.write(f"{self.path}/{one.name}", written, durable=False)
        except NoPictureError as error:
            self.bad.append(f"{one.name}: {error}")
            files.write(f"{self.path}/{one.name}", b"", durable=False)
        files.remove(part)
        self._known[one.name] = one.sha256


def written_anew(name: str, data: bytes, budget: Budget) -> bytes:
    """The same content in our writing. Raises NoPictureError for a picture that is none."""
    base = os.path.basename(name)
    if name == LOSSES:
        table = Losses()
        table.read(data.decode("utf-8", "replace"))
        return shown.visible(table.text()).encode()
    if f"/{PICTURES}/" in name:
        return budget.anew(data)
    if base == ABOUT:
        return _json(RowsAbout if name == f"{offers.QUESTIONS}/{ABOUT}" else About, data)
    kind = {f"{offers.QUESTIONS}/{ROWS}": QuestionRow}.get(name) or (LossRow if "/loss/" in name else AnswerRow)
    lines = data.split(b"\n", LINES)[:LINES]
    return b"".join(_json(kind, one) for one in lines if one.startswith(b"{") and len(one) <= LINE)


def _json(kind: Any, data: bytes) -> bytes:
    """A line of its declared type; nothing for another."""
    try:
        loaded = json.loads(data)
        wire.bounded(loaded)
        return json.dumps(wire.to_dict(wire.from_dict(kind, loaded))).encode() + b"\n"
    except (ValueError, RecursionError, wire.MalformedError):
        return b""
