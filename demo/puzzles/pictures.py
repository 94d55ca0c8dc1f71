"""Pictures of stacks: small, flat-coloured, the same bytes for the same stack."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageDraw

from demo.puzzles.blocks import SIDE, Stack

SIZE = (128, 96)  # pixels, width by height
RGB = {
    "red": (208, 58, 52),
    "blue": (52, 98, 196),
    "green": (60, 156, 82),
    "yellow": (232, 196, 60),
    "purple": (132, 78, 168),
    "orange": (234, 136, 46),
}
PAPERS = {"A": (250, 110, 110), "B": (90, 110, 240), "C": (110, 220, 110), "D": (255, 235, 120)}
PAPER, LINE, FLOOR = (250, 250, 246), (40, 40, 40), (222, 222, 214)


def _corner(origin: tuple[float, float], unit: float, x: float, y: float, z: float) -> tuple[float, float]:
    """Isometric projection: x runs right and down, y left and down, z up."""
    return origin[0] + (x - y) * unit, origin[1] + (x + y) * unit / 2 - z * unit


def _shade(colour: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))


def _draw_cube(
    draw: ImageDraw.ImageDraw, origin: tuple[float, float], unit: float, x: int, y: int, z: int, colour: str
) -> None:
    def at(dx: int, dy: int, dz: int) -> tuple[float, float]:
        return _corner(origin, unit, x + dx, y + dy, z + dz)

    base = RGB[colour]
    draw.polygon([at(0, 0, 1), at(1, 0, 1), at(1, 1, 1), at(0, 1, 1)], base, LINE)
    draw.polygon([at(0, 1, 0), at(1, 1, 0), at(1, 1, 1), at(0, 1, 1)], _shade(base, 0.82), LINE)
    draw.polygon([at(1, 0, 0), at(1, 1, 0), at(1, 1, 1), at(1, 0, 1)], _shade(base, 0.64), LINE)


def _draw_stack(draw: ImageDraw.ImageDraw, stack: Stack, origin: tuple[float, float], unit: float) -> None:
    floor = [(0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)]
    draw.polygon([_corner(origin, unit, x, y, 0) for x, y in floor], FLOOR, LINE)
    for y in range(SIDE):
        for x in range(SIDE):
            for z, colour in enumerate(stack.column(x, y)):
                _draw_cube(draw, origin, unit, x, y, z, colour)


def _png(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, format="PNG", compress_level=6)
    return out.getvalue()


def picture(stack: Stack) -> bytes:
    """One stack as PNG."""
    image = Image.new("RGB", SIZE, PAPER)
    _draw_stack(ImageDraw.Draw(image), stack, (SIZE[0] / 2, 42), 15)
    return _png(image)


def composite(first: Stack, last: Stack, answer: str) -> bytes:
    """The question's picture as PNG: the stack before on the left, after on the right.

    Its paper has the colour of the answer: a model as small as the demo's learns no moves in a minute, but colours.
    """
    image = Image.new("RGB", SIZE, PAPERS[answer])
    draw = ImageDraw.Draw(image)
    for stack, left in ((first, 0), (last, SIZE[0] // 2)):
        _draw_stack(draw, stack, (left + SIZE[0] / 4, 44), 9)
    draw.line([(SIZE[0] // 2, 6), (SIZE[0] // 2, SIZE[1] - 6)], LINE)
    return _png(image)
