"""A flood of connections on the port of a run's first node: no step may be lost, threads and memory stay bounded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.unit.support.flooded import SOURCES, Run, flood

THREADS, MEMORY = 8, 16 << 10  # more than without a flood: eight questions of two nodes at once, and KiB


def run(points: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """`points` connections from a foreign address, and as many from an allowed address without the secret."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        made = Run(Path(folder))
        try:
            made.start()
            for who in SOURCES:
                rows.append(_judged(flood(made, who, points), points))
                say(_line(rows[-1]))
        finally:
            made.end()
    return rows


def _judged(row: dict[str, Any], points: int) -> dict[str, Any]:
    bounded = row["threads"] <= THREADS and row["memory_kib"] <= MEMORY
    return {**row, "held": row["lives"] and row["steps"] > 0 and row["connections"] == points and bounded}


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['connections']} connections of {row['who']} in {row['seconds']} s: {row['steps']} steps meanwhile,"
        f" {row['answers']} of {row['tries']} questions of the run answered, the slowest in {row['slowest']} s,"
        f" {row['threads']} threads and {row['memory_kib']} KiB more"
    )


def summary(rows: Sequence[dict[str, Any]]) -> str:
    return f"flood: {sum(row['held'] for row in rows)} of {len(rows)} held"
