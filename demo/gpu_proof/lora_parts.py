"""The starts that `demo.gpu_proof.lora` makes, in the order in which they may come. Two GPUs are worked at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CARD = 24.7e9  # what torch may take of a card of 24 GB


@dataclass
class Part:
    """One start. `kill`: the step after which it is killed; `after`: parts that have to be through before it."""

    name: str
    gpus: str
    profile: str = "lora"
    run: str = ""  # parts of one run share its results, so that the later one resumes
    steps: int = 0  # of the whole run
    save_every: int = 100
    kill: int = 0
    bytes: float = 0
    layers: int = 0  # another model than the one of --layers
    merged: bool = False  # starts from the merged model instead of the base
    copied: tuple[str, int] = ("", 0)  # a run, and the checkpoint of it that this one begins with
    made: bool = False  # small batches that are made on the spot, each with noise of its own
    hold: bool = False  # before its first step, until the part `warm` is through
    after: tuple[str, ...] = ()
    seconds: float = 60  # that it takes; it is not begun with less left
    optimizer: str = "adamw_fused"
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def ranks(self) -> int:
        return len(self.gpus.split(","))

    @property
    def place(self) -> str:
        """The name of its folder."""
        return self.name.replace(", ", "-").replace(" ", "-")


STREAMED = {"run_config_cpu_offload": True}
MADE = {"run_config_use_flex": False}
EIGHT = "adamw_8bit"
PARTS = (
    Part("warm", "1", "frozen", layers=1, seconds=90),
    Part(
        "streamed, 1 card",
        "0",
        run="a",
        steps=12,
        save_every=4,
        kill=6,
        bytes=CARD,
        hold=True,
        seconds=100,
        changes=STREAMED,
    ),
    # The same steps in one piece and in two, with noise that belongs to the step.
    Part("made, whole", "1", run="whole", steps=8, save_every=4, made=True, seconds=60, changes=MADE),
    Part(
        "made, resumed",
        "1",
        run="two",
        copied=("whole", 4),
        steps=8,
        save_every=4,
        made=True,
        after=("made, whole",),
        seconds=50,
        changes=MADE,
    ),
    Part(
        "8 bit, made, whole",
        "0",
        "full",
        run="eight-whole",
        steps=8,
        save_every=4,
        made=True,
        layers=2,
        optimizer=EIGHT,
        seconds=40,
        changes=MADE,
    ),
    Part(
        "8 bit, made, resumed",
        "0",
        "full",
        run="eight-two",
        copied=("eight-whole", 4),
        steps=8,
        save_every=4,
        made=True,
        layers=2,
        optimizer=EIGHT,
        after=("8 bit, made, whole",),
        seconds=40,
        changes=MADE,
    ),
    Part(
        "8 bit, 2 layers, killed",
        "1",
        "full",
        run="eight",
        steps=8,
        save_every=4,
        kill=6,
        layers=2,
        optimizer=EIGHT,
        after=("warm", "made, resumed", "8 bit, made, resumed"),
        seconds=50,
    ),
    Part(
        "8 bit, 2 layers, resumed",
        "1",
        "full",
        run="eight",
        steps=8,
        save_every=8,
        layers=2,
        optimizer=EIGHT,
        after=("8 bit, 2 layers, killed",),
        seconds=50,
    ),
    Part(
        "resumed, streamed, 2 cards",
        "0,1",
        run="a",
        steps=12,
        save_every=4,
        bytes=CARD,
        after=("streamed, 1 card", "8 bit, 2 layers, resumed"),
        seconds=75,
        changes=STREAMED,
    ),
    Part(
        "sharded, 2 cards",
        "0,1",
        run="b",
        steps=4,
        save_every=2,
        after=("resumed, streamed, 2 cards",),
        seconds=50,
    ),
    Part("full, fused, no EMA, 2 cards", "0,1", "full", steps=3, after=("sharded, 2 cards",), seconds=65),
    Part(
        "full, 8 bit, no EMA, 2 cards",
        "0,1",
        "full",
        steps=3,
        optimizer=EIGHT,
        after=("full, fused, no EMA, 2 cards",),
        seconds=65,
    ),
    Part(
        "resumed, streamed, 1 card",
        "0",
        run="a",
        steps=15,
        save_every=15,
        bytes=CARD,
        after=("full, 8 bit, no EMA, 2 cards",),
        seconds=60,
        changes=STREAMED,
    ),
    Part(
        "merged, 1 card",
        "1",
        "frozen",
        merged=True,
        after=("full, 8 bit, no EMA, 2 cards",),
        seconds=40,
    ),
    Part(
        "full, offloaded, 2 cards",
        "0,1",
        "full",
        steps=2,
        layers=20,
        after=("merged, 1 card",),
        seconds=120,
        changes=STREAMED,
    ),
)
