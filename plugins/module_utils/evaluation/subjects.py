"""What is evaluated: the base, checkpoints, merged models, each by one file of weights."""

from __future__ import annotations

from dataclasses import dataclass

from ..system import files
from ..system.digests import sha256

SAMPLES, SAMPLE = 256, 1 << 16  # how many pieces of a file are read for its digest, and bytes of each


@dataclass(frozen=True)
class Subject:
    """`path`: the file of weights. For adapters it is the base's, and `adapter` is the file beside it, else ""."""

    name: str
    step: int | None
    path: str
    adapter: str = ""

    @property
    def weights(self) -> str:
        """The file that makes it what it is."""
        return self.adapter or self.path


def digest(subject: Subject) -> str:
    """Tells weights from other weights: of sizes and of pieces all over the files.

    A training changes every tensor, so 16 MB of 29 GB are enough. Raises OSError.
    """
    return sha256(*(_sampled(path) for path in (subject.path, subject.adapter) if path))


def _sampled(path: str) -> str:
    source, size = files.open_plain(path)
    pieces = [str(size).encode()]
    with source:
        for number in range(SAMPLES):
            source.seek(max(0, size - SAMPLE) * number // (SAMPLES - 1))
            pieces.append(source.read(SAMPLE))
    return sha256(*pieces)
