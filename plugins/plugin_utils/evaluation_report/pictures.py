# SPDX-License-Identifier: Apache-2.0
"""Pictures of a host: decoded within bounds and encoded anew, so that nothing but pixels comes through."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...module_utils.evaluation.offer import PICTURE_BYTES
from ...module_utils.system import files

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

SIDE = 4096  # pixels of an edge
AREA = SIDE * SIDE
PIXELS = 8_000_000_000  # of all pictures that are brought in one call: 30,000 of 512 × 512, some ten minutes
SPEED = 3  # zlib's level: a picture is encoded once and read seldom
# Longest edge in pixels, and quality; from what a page has room for at best to what is still recognised.
LEVELS = ((512, 80), (384, 74), (320, 68), (256, 62), (192, 55), (160, 50), (128, 45))
SAMPLES = 16  # pictures that are tried before a level is chosen
SAFETY = 0.9  # of the room, which the samples may fill
MARKUP = 200  # bytes around a picture in the page


class NoPictureError(ValueError):
    """The bytes are no PNG, or a larger one than is decoded."""


@dataclass(frozen=True)
class Shown:
    """A picture for the page."""

    uri: str
    width: int
    height: int


def opened(data: bytes) -> Pixels:
    """The pixels of a PNG in RGB, on white where it is transparent. Raises NoPictureError, whatever is wrong."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a decompression bomb is a warning first
            with Image.open(io.BytesIO(data), formats=("PNG",)) as found:
                if max(found.size) > SIDE or found.size[0] * found.size[1] > AREA:
                    raise NoPictureError(f"{found.size[0]} × {found.size[1]} pixels")
                found.load()
                if found.mode in ("RGB", "L"):
                    return found.convert("RGB")
                layered = found.convert("RGBA")
        paper = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(paper, layered).convert("RGB")
    except NoPictureError:
        raise
    except Exception as error:  # a decoder of hostile bytes may raise anything
        raise NoPictureError(f"{type(error).__name__}: {error}"[:200]) from error


class Budget:
    """Of pixels that are decoded for one host: small files may hold large pictures, and many of them take hours."""

    def __init__(self, pixels: int = PIXELS) -> None:
        self.left = pixels

    def anew(self, data: bytes) -> bytes:
        """The same pixels as a PNG that we wrote. Raises NoPictureError."""
        if self.left <= 0:
            raise NoPictureError("all pictures before it have too many pixels")
        found = opened(data)
        self.left -= found.width * found.height
        out = io.BytesIO()
        found.save(out, format="PNG", compress_level=SPEED)
        return out.getvalue()


def small(path: str, side: int, quality: int) -> Shown | None:
    """The picture at a path for the page, at most `side` pixels long; None for none."""
    try:
        found = opened(files.read(path, PICTURE_BYTES, follow=False))
    except (OSError, NoPictureError):
        return None
    found.thumbnail((side, side))
    out = io.BytesIO()
    found.save(out, format="WEBP", quality=quality, method=2)
    return Shown("data:image/webp;base64," + base64.b64encode(out.getvalue()).decode(), *found.size)


class PagePictures:
    """The pictures of a page, as large as fits into `room` bytes altogether; those that come last may be dropped."""

    def __init__(self, paths: Sequence[str], room: int) -> None:
        self.room, self.dropped = room, 0
        self.side, self.quality = self._level(paths)
        self._shown: dict[str, Shown | None] = {}
        for path in paths:
            self._shown[path] = self._add(path)

    def __getitem__(self, path: str) -> Shown | None:
        return self._shown.get(path)

    def _level(self, paths: Sequence[str]) -> tuple[int, int]:
        """The best level whose samples say that all pictures will fit."""
        step = max(1, len(paths) // SAMPLES)
        tried = paths[::step][:SAMPLES]
        for level in LEVELS:
            sizes = [_bytes(small(path, *level)) for path in tried]
            if not sizes or sum(sizes) / len(sizes) * len(paths) <= SAFETY * self.room:
                return level
        return LEVELS[-1]

    def _add(self, path: str) -> Shown | None:
        if self.room <= 0:
            self.dropped += 1
            return None
        found = small(path, self.side, self.quality)
        if found is None or _bytes(found) > self.room:
            self.dropped += 1
            return None
        self.room -= _bytes(found)
        return found


def _bytes(found: Shown | None) -> int:
    return len(found.uri) + MARKUP if found else 0
