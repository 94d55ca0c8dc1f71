"""The world of the puzzles: coloured cubes on a 3 × 3 floor, moved one unit at a time.

A cube that moves onto another one swaps with it; nothing floats, so a column closes over the gap that is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 3  # units of the floor's edge
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")
STEPS = {"left": (-1, 0), "right": (1, 0), "forward": (0, -1), "backward": (0, 1)}

Column = tuple[str, ...]  # colours from the floor upwards


@dataclass(frozen=True)
class Move:
    """One unit of one cube: from the column (x, y), height z, in a direction of STEPS."""

    x: int
    y: int
    z: int
    direction: str

    @property
    def target(self) -> tuple[int, int]:
        dx, dy = STEPS[self.direction]
        return self.x + dx, self.y + dy

    def __str__(self) -> str:
        return f"({self.x},{self.y},{self.z}) {self.direction}"


@dataclass(frozen=True)
class Stack:
    """Nine columns, row by row: column (x, y) is columns[y * SIDE + x]."""

    columns: tuple[Column, ...]

    def column(self, x: int, y: int) -> Column:
        return self.columns[y * SIDE + x]

    def moves(self) -> list[Move]:
        """Every move that stays on the floor, in a fixed order."""
        found = []
        for y in range(SIDE):
            for x in range(SIDE):
                for z in range(len(self.column(x, y))):
                    found += [Move(x, y, z, direction) for direction in STEPS]
        return [m for m in found if 0 <= m.target[0] < SIDE and 0 <= m.target[1] < SIDE]

    def after(self, move: Move) -> Stack:
        """The stack after a move. Raises ValueError when there is no cube to move."""
        source, target = self.column(move.x, move.y), self.column(*move.target)
        if move.z >= len(source):
            raise ValueError(f"no cube at ({move.x},{move.y},{move.z})")
        cube = source[move.z]
        if move.z < len(target):
            source = (*source[: move.z], target[move.z], *source[move.z + 1 :])
            target = (*target[: move.z], cube, *target[move.z + 1 :])
        else:
            source = source[: move.z] + source[move.z + 1 :]
            target = (*target, cube)
        columns = list(self.columns)
        columns[move.y * SIDE + move.x] = source
        columns[move.target[1] * SIDE + move.target[0]] = target
        return Stack(tuple(columns))


def random_stack(rng: np.random.Generator) -> Stack:
    """Four to six cubes of different colours, at most three high."""
    columns: list[Column] = [()] * (SIDE * SIDE)
    for colour in rng.permutation(COLOURS)[: rng.integers(4, len(COLOURS) + 1)]:
        free = [i for i, column in enumerate(columns) if len(column) < SIDE]
        place = int(rng.choice(free))
        columns[place] = (*columns[place], str(colour))
    return Stack(tuple(columns))


def random_walk(stack: Stack, length: int, rng: np.random.Generator) -> tuple[list[Move], list[Stack]]:
    """A sequence of moves and the stacks after each of them; every move changes something."""
    moves: list[Move] = []
    states: list[Stack] = []
    while len(moves) < length:
        choices = stack.moves()
        move = choices[int(rng.integers(len(choices)))]
        after = stack.after(move)
        if after == stack:
            continue
        moves, states, stack = [*moves, move], [*states, after], after
    return moves, states
