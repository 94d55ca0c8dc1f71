"""What the demo's base model has learned beforehand: the form of a solution, and no answer. Numpy alone.

- the bias of the output layer holds how often each token is a label
- the output layer's weights hold which token follows which, so the base writes sentences of a solution
- one head of each layer looks at pictures and at nothing else; what it makes of them is random

So a run that loads the folder starts at about 1 nat a token, and one that does not at ln(vocabulary).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from demo.minicanvas.bpe import trainer_module
from demo.puzzles.puzzle import puzzles, solution_texts

shapes = trainer_module("modeling/shapes.py")

SEED = 7
PUZZLES_READ = 300  # of another seed than the data set's, so that no test puzzle was read
POSITIONS = (100, 400)  # of the tokens of a solution
CERTAINTY = 8.0  # nats between a token that always follows and one that never does
STEADY = 10.0  # of the ridge regression
LOOKS = 12.0  # how clearly the looking head prefers pictures
FAST = 12  # marks of a patch that differ between the patches of a picture; the others are about 1

HEAD = "language_model.lm_head"


def sinusoids(positions: np.ndarray, width: int, slowest: float) -> np.ndarray:
    """Marks of positions, float64, positions × width."""
    angles = positions[:, None] / slowest ** (np.arange(width // 2)[None] / (width // 2))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def solutions(count: int) -> list[list[str]]:
    return [solution_texts(puzzle) for puzzle in puzzles(count, SEED)]


def labels(made: Any) -> list[tuple[int, int]]:
    """Each token of the solutions with its label of the cross-entropy: texts, their ends, and what follows them."""
    pairs: list[tuple[int, int]] = []
    for parts in solutions(PUZZLES_READ):
        for number, text in enumerate(parts, start=1):
            ids = [made.token_id("<|im_start|>"), *made.encode(text), made.token_id("<|im_end|>")]
            after = made.token_id("<|vision_start|>" if number < len(parts) else "<|endoftext|>")
            pairs += zip(ids, [*ids[1:], after], strict=True)
    return pairs


def log_frequencies(pairs: list[tuple[int, int]], vocabulary: int) -> np.ndarray:
    """ln of how often each token is a label, float64, one for each token."""
    seen = np.full(vocabulary, 0.5)
    for token, count in Counter(label for _, label in pairs).items():
        seen[token] += count
    frequencies: np.ndarray = np.log(seen / seen.sum())
    return frequencies


def followers(pairs: list[tuple[int, int]], embedded: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weights that turn a token's row into what follows it, by ridge regression: as `embedded`, tokens × width."""
    vocabulary, width = embedded.shape
    tokens, after = np.array(pairs).T
    positions = rng.integers(*POSITIONS, len(tokens))
    rows = embedded[tokens] + shapes.MARKED * sinusoids(positions, width, shapes.SLOWEST)
    rows /= np.sqrt((rows**2).mean(axis=1, keepdims=True))
    wanted = np.eye(vocabulary)[after]
    solved = np.linalg.solve(rows.T @ rows + STEADY * np.eye(width), rows.T @ (wanted - wanted.mean(axis=0)))
    weights: np.ndarray = CERTAINTY * solved.T
    return weights


def look_at_pictures(weight: np.ndarray, bias: np.ndarray, heads: int) -> None:
    """Sets the first head's query to a constant, and its key to what all patches of pictures share, in place.

    `weight` (3 · width × width) and `bias` (3 · width) are those of qkv_proj.
    """
    width = weight.shape[1]
    own = width // heads
    weight[:own] = weight[width : width + own] = 0.0
    shared = width // 2 - FAST  # the slow cosines of the patches' marks
    weight[width, -shared:] = 1 / np.sqrt(shared)
    bias[0] = LOOKS


def learn(tensors: Mapping[str, np.ndarray], made: Any, heads: int, rng: np.random.Generator) -> None:
    """Puts what is known into random tensors, in place."""
    embedded = tensors["language_model.model.embed_tokens.weight"]
    pairs = labels(made)
    tensors[f"{HEAD}.bias"][:] = log_frequencies(pairs, len(embedded))
    tensors[f"{HEAD}.weight"][:] += followers(pairs, embedded, rng)
    for name in tensors:
        if name.endswith("qkv_proj.weight"):
            look_at_pictures(tensors[name], tensors[name.replace("weight", "bias")], heads)
