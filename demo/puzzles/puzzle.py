"""One puzzle: a stack, its moves, four options, and the words for question and solution. Numpy alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from demo.puzzles.blocks import Move, Stack, random_stack, random_walk

LETTERS = "ABCD"
QUESTION = (
    "Left: cubes before some moves, right: after them. In a move one cube goes one unit, changes places with a cube "
    "there, and what stood on it falls down. Which moves were it? Answer with A, B, C or D."
)


@dataclass(frozen=True)
class Puzzle:
    start: Stack
    moves: list[Move]
    states: list[Stack]  # after each move
    options: dict[str, list[Move]]
    answer: str


def follow(stack: Stack, moves: list[Move]) -> Stack:
    for move in moves:
        stack = stack.after(move)
    return stack


def make_puzzle(rng: np.random.Generator) -> Puzzle:
    """Two or three moves, and three other sequences that end elsewhere."""
    start = random_stack(rng)
    length = int(rng.integers(2, 4))
    moves, states = random_walk(start, length, rng)
    while states[-1] == start:
        moves, states = random_walk(start, length, rng)
    wrong: list[list[Move]] = []
    while len(wrong) < len(LETTERS) - 1:
        other, _ = random_walk(start, length, rng)
        if follow(start, other) != states[-1] and other not in wrong:
            wrong.append(other)
    answer = LETTERS[int(rng.integers(len(LETTERS)))]
    rest = iter(wrong)
    options = {letter: moves if letter == answer else next(rest) for letter in LETTERS}
    return Puzzle(start, moves, states, options, answer)


def question_text(puzzle: Puzzle) -> str:
    lines = [f"{letter}: {'; '.join(map(str, moves))}" for letter, moves in puzzle.options.items()]
    return QUESTION + "\n\nOptions:\n" + "\n".join(lines)


def solution_texts(puzzle: Puzzle) -> list[str]:
    """One text before each picture, and a last one with the answer. All begin alike: little is to be learned."""
    option, befores = f"Option {puzzle.answer}", (puzzle.start, *puzzle.states[:-1])
    texts = []
    for number, (move, before) in enumerate(zip(puzzle.moves, befores, strict=True), start=1):
        colour = before.column(move.x, move.y)[move.z]
        texts.append(f"{option}, step {number}: the {colour} cube {move.direction}.")
    return [*texts, f"{option} is the answer."]


def puzzles(count: int, seed: int = 42) -> Iterator[Puzzle]:
    """The same puzzles for the same seed."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield make_puzzle(rng)
