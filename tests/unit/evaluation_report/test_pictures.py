"""Pictures of a host: only pixels come through, and a page has room for all of them or says which it lacks."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report import pictures
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report.pictures import (
    Budget,
    NoPictureError,
    PagePictures,
)
from PIL import Image, PngImagePlugin


def png(size: tuple[int, int] = (8, 6), mode: str = "RGB", colour: object = "red", **more: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, format="PNG", **more)  # type: ignore[arg-type]
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and holds next to nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_a_picture_is_encoded_anew_without_what_lies_beside_the_pixels() -> None:
    words = PngImagePlugin.PngInfo()
    words.add_text("Comment", "<script>alert(1)</script>")
    given = png(pnginfo=words) + b"<script>"
    assert b"script" in given
    found = Budget().anew(given)
    assert b"script" not in found
    assert (pictures.opened(found).size, pictures.opened(found).getpixel((3, 3))) == ((8, 6), (255, 0, 0))


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("L", 7, (7, 7, 7)),
        ("1", 1, (255, 255, 255)),
        ("P", 0, (0, 0, 0)),
        ("LA", (9, 255), (9, 9, 9)),
    ],
)
def test_every_kind_of_png_becomes_rgb(mode: str, colour: object, seen: tuple[int, int, int]) -> None:
    found = pictures.opened(Budget().anew(png(mode=mode, colour=colour)))
    assert (found.mode, found.getpixel((1, 1))) == ("RGB", seen)


HOSTILE = {
    "nothing": b"",
    "a page": b"<html><script>alert(1)</script>",
    "a vector picture": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "cut": png((300, 300))[:60],
    "too wide": bomb(5000, 10),
    "a bomb": bomb(60_000, 60_000),
    "as large as allowed, and empty": bomb(4096, 4096),
    "no edges": bomb(0, 0),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(NoPictureError):
        Budget().anew(data)


def test_large_pictures_in_small_files_cost_no_more_than_one_too_many() -> None:
    budget = Budget(pixels=100 * 100)
    assert budget.anew(png((90, 90)))
    assert budget.anew(png((90, 90)))
    with pytest.raises(NoPictureError, match="too many pixels"):
        budget.anew(png((1, 1)))


def test_another_format_is_none() -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, format="JPEG")
    with pytest.raises(NoPictureError):
        Budget().anew(out.getvalue())


@pytest.fixture
def noisy(tmp_path: Path) -> list[str]:
    """Forty pictures that nothing makes small."""
    paths = []
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 255, (700, 600, 3), dtype=np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path, compress_level=0)
        paths.append(str(path))
    return paths


@pytest.mark.parametrize("room", [40_000_000, 600_000, 40_000])
def test_pictures_are_as_large_as_there_is_room(noisy: list[str], room: int) -> None:
    found = PagePictures(noisy, room)
    shown = [found[path] for path in noisy]
    assert sum(len(one.uri) for one in shown if one) <= room
    assert found.dropped == shown.count(None)
    assert (found.dropped > 0) == (room == 40_000)
    assert shown[0] is not None, "the first ones are kept"
    assert max(shown[0].width, shown[0].height) == found.side
    assert (found.side == 512) == (room == 40_000_000)
    assert base64.b64decode(shown[0].uri.partition(",")[2])[8:12] == b"WEBP"


def test_a_file_that_is_no_picture_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").symlink_to("/etc/passwd")
    paths = [str(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    found = PagePictures(paths, 1_000_000)
    assert [found[path] for path in paths] == [None] * 3
    assert found.dropped == 3
