"""Two files beside the trainer's log.txt, for people and programs:

    log.plain.txt   the log without colour codes
    losses.csv      a row for each step line (trainer/losses.py)

Both follow from log.txt, whose new lines are appended to them. A start writes them anew, in one rename each: what an
interruption left half-written is gone then, and steps that are made again are there once.
"""

from __future__ import annotations

import codecs
import os
from typing import BinaryIO

from ..system import files
from ..trainer.log import plain
from ..trainer.losses import ANEW, Losses

PLAIN, LOSSES = "log.plain.txt", "losses.csv"
PART = ".part"
EVERY = 1.0  # seconds between two looks at the log
BLOCK = 1 << 20  # bytes read at once
LIMIT = 256 << 20  # bytes of the log that are followed; the log of a long run has a few
LINE = 100_000  # characters of a line
MODE = 0o640  # as the unit's umask gives it to what the trainer writes


class Transcript:
    """A disk that is full costs the two files, not the training: look() raises nothing."""

    def __init__(self, log: str) -> None:
        folder = os.path.dirname(log)
        self._log, self._plain, self._table = log, os.path.join(folder, PLAIN), os.path.join(folder, LOSSES)
        self._losses = Losses()
        self._looked = float("-inf")
        self._begun: tuple[int, int] | None = None  # device and inode of the log that is followed
        self._at, self._rest = 0, ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.lost = ""  # why the files are not written any more

    def look(self, now: float, *, at_once: bool = False) -> None:
        """Takes over what the log got since the last look, once a second at most."""
        if self.lost or (now - self._looked < EVERY and not at_once):
            return
        self._looked = now
        try:
            self._follow()
        except FileNotFoundError:
            return  # no log yet
        except OSError as error:
            self.lost = str(error)

    def _follow(self) -> None:
        source, size = files.open_plain(self._log, follow=False)
        with source:
            info = os.fstat(source.fileno())
            if self._begun != (info.st_dev, info.st_ino) or size < self._at:
                self._begin(source)
                self._begun = (info.st_dev, info.st_ino)
            source.seek(self._at)
            text, rows, anew = self._read(source, [], False)
        if text:
            with files.open_part(self._plain, MODE) as out:
                out.write("".join(text).encode())
        self._write_rows(rows, anew)

    def _begin(self, source: BinaryIO) -> None:
        """Both files anew, from the whole log; rows of a log that was removed are kept."""
        if self._begun is None:
            self._losses.read(files.text(self._table, follow=False))
        self._at, self._rest = 0, ""
        self._decoder.reset()
        part = f"{self._plain}{PART}"
        files.remove(part)
        with files.open_part(part, MODE) as out:
            while self._at < LIMIT:
                before = self._at
                lines = self._read(source, [], False, blocks=1)[0]
                out.write("".join(lines).encode())
                if self._at == before:
                    break
        files.move(part, self._plain)
        self._write_rows([], anew=True)

    def _read(
        self, source: BinaryIO, rows: list[str], anew: bool, blocks: int = 64
    ) -> tuple[list[str], list[str], bool]:
        """Lines, rows and whether the table is to be written anew, of what is read from here on."""
        found: list[str] = []
        while blocks and self._at < LIMIT and (block := source.read(BLOCK)):
            blocks -= 1
            self._at += len(block)
            head, newline, tail = (self._rest + self._decoder.decode(block)).rpartition("\n")
            self._rest = tail[-LINE:]
            for line in plain(head) if newline else []:
                found.append(f"{line}\n")
                row = self._losses.feed(line)
                anew = anew or row == ANEW
                rows += [row] if row else []
        return found, rows, anew

    def _write_rows(self, rows: list[str], anew: bool) -> None:
        if anew:
            files.write(self._table, self._losses.text().encode(), MODE, durable=False)
        elif rows:
            with files.open_part(self._table, MODE) as out:
                out.write("".join(rows).encode())
