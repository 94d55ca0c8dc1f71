"""Reads the trainer's log: a pure parser of lines, and a bounded reader of the file.

Mirrors MathCanvas cc48f16: train/train_utils.py (the line's frame, with ANSI codes around the time),
train/pretrain_unified_navit.py (the lines of a run), train/fsdp_utils.py (loading and saving). The file is appended
on each start, so only what follows the last start counts. failures.py says why a run died.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..core.wire import Measured
from ..system.files import open_plain

HEAD = 1 << 18  # bytes read from the beginning of the part that counts: total, weights
TAIL = 1 << 20  # … and from its end: the recent steps, saves, the end
RECENT = 10  # step lines that rate and time left look back on
# The only tensors that may be missing: fixed sinusoids that the trainer takes out before it loads.
POSITIONS = frozenset({"latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed"})

# Numbers of more than 15 digits are none of the trainer's: the log is a file that anybody in its account can write.
# Colours and cursors, and links; a system's log writes the escape as #033.
_ANSI = re.compile(r"(?:\x1b|#033)\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][0-9A-B]")
_START = re.compile(r"Training arguments TrainingArguments\(")
_TRAINING = re.compile(r"Training for (\d{1,15}) steps, starting at (\d{1,15})\.\.\.")
_STEP = re.compile(r"\(step=(\d{1,15})\) (.*)")
_LOSS = re.compile(r"Train Loss (\w+): (\S+?),(?:\s|$)")
_RATE = re.compile(r"Train Steps/Sec: (\d{1,15}(?:\.\d+)?)")
_LOADING = re.compile(r"Loading checkpoint from (.+)\.$")
_KEYS = re.compile(r"_IncompatibleKeys\(missing_keys=\[(.*?)\], unexpected_keys=\[(.*?)\]\)")
_NAME = re.compile(r"'([^']*)'")
_SAVE = re.compile(r"Saving checkpoint at step (\d{1,15})\.\.\.")
_REACHED = re.compile(r"Reached total_steps \((\d{1,15})\)")
# What the patch of training_profile: lora says (patch_lora_text.py).
_ADAPTERS = re.compile(
    r"canvas-fleet lora: (\d{1,9}) adapters, (\d{1,15}) parameters, rank (\d{1,4}), base (\d{1,9}) tensors loaded"
)
_MOVED = re.compile(r"canvas-fleet lora: \|B\| = (\d{1,15}(?:\.\d{1,15})?(?:e[+-]\d{1,2})?)$")
_DONE = re.compile(r"(?:\] |^)Done!$")


@dataclass(frozen=True)
class Step:
    """One step line: losses by name, and steps per second since the line before."""

    step: int
    losses: Mapping[str, float]
    rate: float | None


@dataclass(frozen=True)
class Loss:
    """The first one since the start, and the last."""

    first: Measured
    last: Measured


@dataclass(frozen=True)
class Adapters:
    """Adapters of this start. `moved`: the norm of all B, which begin at zero; None before it is said."""

    number: int
    parameters: int
    rank: int
    base_tensors: int  # of the base, that were loaded
    moved: float | None = None


@dataclass(frozen=True)
class Summary:
    """Summary of a log. `rate`: steps per second; `seconds_left` until the last step."""

    step: int | None = None
    total_steps: int | None = None
    start_step: int | None = None
    losses: Mapping[str, Loss] = field(default_factory=dict)
    rate: float | None = None
    seconds_left: float | None = None
    weights: str = ""
    weights_from: str = ""
    weights_flaw: str = ""
    saves: tuple[int, ...] = ()
    reached: bool = False
    done: bool = False
    adapters: Adapters | None = None


@dataclass(frozen=True)
class TrainLog:
    """The trainer's log since its last start. `weights`: "", loading, loaded, partial or scratch."""

    total: int | None = None
    start_step: int | None = None
    steps: tuple[Step, ...] = ()  # the first one, then the newest that the reading reached, in order of the log
    weights: str = ""
    weights_from: str = ""
    weights_flaw: str = ""
    saves: tuple[int, ...] = ()
    reached: int | None = None
    done: bool = False
    tail: tuple[str, ...] = field(default=(), compare=False)
    adapters: Adapters | None = None

    @property
    def finished(self) -> bool:
        return self.done and self.reached is not None

    @property
    def last(self) -> Step | None:
        return self.steps[-1] if self.steps else None

    def rate(self) -> float | None:
        """Steps per second over the recent lines (the mean of their times). None before there is one.

        The first line after a start is left out where there are others: it divides log_every, although one step
        was made, by a time that holds the loaders' start and the compiler.
        """
        recent = [s.rate for s in (self.steps[1:] or self.steps)[-RECENT:] if s.rate]
        return len(recent) / sum(1 / rate for rate in recent) if recent else None

    def seconds_left(self) -> float | None:
        """Seconds until the last step; None while unknown. Steps are 0 … total, so `total - step` remain."""
        rate, last = self.rate(), self.last
        if self.reached is not None:
            return 0.0
        if rate is None or last is None or self.total is None:
            return None
        return max(0, self.total - last.step) / rate

    def losses(self) -> dict[str, Loss]:
        """By name."""
        found: dict[str, Loss] = {}
        for step in self.steps:
            for name, value in step.losses.items():
                found[name] = Loss(found[name].first if name in found else value, value)
        return found

    def summary(self) -> Summary:
        return Summary(
            # A finished run that was started again says that it is at its end, and makes no step.
            step=self.last.step if self.last else self.reached,
            total_steps=self.total,
            start_step=self.start_step,
            losses=self.losses(),
            rate=self.rate(),
            seconds_left=self.seconds_left(),
            weights=self.weights,
            weights_from=self.weights_from,
            weights_flaw=self.weights_flaw,
            saves=self.saves,
            reached=self.reached is not None,
            done=self.done,
            adapters=self.adapters,
        )


def plain(text: str) -> list[str]:
    """Lines without colour codes; a progress bar's carriage returns end lines too. Only these ends: no form feeds."""
    return [line.rstrip() for line in re.split(r"\r\n|\n|\r", _ANSI.sub("", text)) if line.strip()]


def since_last_start(lines: Sequence[str]) -> Sequence[str]:
    """The lines from the last start on (the trainer's first line is its arguments); all, when no start is seen."""
    for number in range(len(lines) - 1, -1, -1):
        if _START.search(lines[number]):
            return lines[number:]
    return lines


class Reader:
    """Reads a start of the trainer line by line. `keep` bounds how many steps are held beside the first; 0: all."""

    def __init__(self, keep: int = 0) -> None:
        self._keep = keep
        self._steps: list[Step] = []
        self._saves: list[int] = []
        self.total: int | None = None
        self.start: int | None = None
        self.reached: int | None = None
        self.done = False
        self.weights, self.source, self.flaw = "", "", ""
        self.adapters: Adapters | None = None

    def feed(self, line: str) -> Step | None:
        """Read one plain line; returns its step, if it has one."""
        if (step := _step(line)) is not None:
            self._steps.append(step)
            if self._keep and len(self._steps) > self._keep + 1:
                del self._steps[1]
        elif match := _TRAINING.search(line):
            self.total, self.start = int(match[1]), int(match[2])
        elif match := _SAVE.search(line):
            self._saves.append(int(match[1]))
        elif match := _REACHED.search(line):
            self.reached = int(match[1])
        elif _DONE.search(line):
            self.done = True
        elif match := _ADAPTERS.search(line):
            self.adapters = Adapters(*map(int, match.groups()))
        elif (match := _MOVED.search(line)) and self.adapters:
            self.adapters = replace(self.adapters, moved=float(match[1]))
        else:
            self._weigh(line)
        return step

    def _weigh(self, line: str) -> None:
        """Loaded means: each reading lacked the two position tables and nothing else."""
        if self.weights == "scratch":
            return
        if "Training from scratch." in line:
            self.weights, self.source, self.flaw = "scratch", "", "the trainer began with random weights"
        elif match := _LOADING.search(line):
            if self.weights != "partial":  # adapters of a checkpoint do not mend their base
                self.weights, self.source, self.flaw = "loading", match[1], ""
        elif match := _KEYS.search(line):
            self.flaw = self.flaw or _keys_flaw(_NAME.findall(match[1]), _NAME.findall(match[2]))
            self.weights = "partial" if self.flaw else "loaded"
        elif "<All keys matched successfully>" in line and self.weights == "loading":
            self.weights = "loaded"

    @property
    def saving(self) -> int | None:
        """The step of the newest save that was begun."""
        return self._saves[-1] if self._saves else None

    def log(self, tail: tuple[str, ...] = ()) -> TrainLog:
        return TrainLog(
            self.total,
            self.start,
            tuple(self._steps),
            self.weights,
            self.source,
            self.flaw,
            tuple(self._saves),
            self.reached,
            self.done,
            tail,
            self.adapters,
        )


def parse(text: str) -> TrainLog:
    """The summary of the last start in `text`."""
    lines = since_last_start(plain(text))
    reader = Reader()
    for line in lines:
        reader.feed(line)
    return reader.log(tuple(line[-300:] for line in lines[-8:]))


def _step(line: str) -> Step | None:
    match = _STEP.search(line)
    if not match:
        return None
    losses = {}
    for name, value in _LOSS.findall(match[2]):
        try:
            losses[name] = float(value)
        except ValueError:
            continue  # a line that another process wrote into
    rate = _RATE.search(match[2])
    return Step(int(match[1]), losses, float(rate[1]) if rate else None) if losses else None


def _keys_flaw(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    lacking = [name for name in missing if name not in POSITIONS]
    parts = []
    if lacking:
        parts.append(f"{len(lacking)} tensors not in the file ({', '.join(lacking[:3])}{' …' * (len(lacking) > 3)})")
    if unexpected:
        more = " …" * (len(unexpected) > 3)
        parts.append(f"{len(unexpected)} tensors that the model does not know ({', '.join(unexpected[:3])}{more})")
    return "; ".join(parts)


def read_part(path: str, offset: int = 0, head: int = HEAD, tail: int = TAIL) -> str:
    """At most `head` bytes from `offset` and `tail` bytes from the end; "" for what is no plain file
    (a link is not followed: the reader is root, the folder is the training user's).

    An offset past the end means that the file was replaced since: it is read from its beginning. What is cut out in
    the middle leaves no half lines behind.
    """
    try:
        source, size = open_plain(path, follow=False)
    except OSError:
        return ""
    with source:
        begin = offset if 0 <= offset <= size else 0
        source.seek(begin)
        if size - begin <= head + tail:
            return source.read(head + tail).decode("utf-8", "replace")
        first = source.read(head)
        source.seek(size - tail)
        last = source.read(tail)
    return (first[: first.rfind(b"\n") + 1] + last[last.find(b"\n") + 1 :]).decode("utf-8", "replace")
