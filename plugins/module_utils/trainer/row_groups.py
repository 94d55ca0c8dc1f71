"""How rows are spread over row groups, and how the loader uses the groups of a file."""

from __future__ import annotations

from ..core.errors import FleetError
from ..findings.finding import finding


def needed(world_size: int, num_workers: int) -> int:
    """Row groups that feed each worker of each rank exactly one; no workers means that the rank itself reads."""
    return world_size * max(1, num_workers)


def row_groups(rows: int, world_size: int, num_workers: int) -> tuple[int, ...]:
    """Sizes of the row groups, in rows, so that each worker of each rank gets exactly one.

    The loader floors twice (groups // world_size, then that // num_workers) and never sees the remainders:
    MathCanvas cc48f16, data/distributed_iterable_dataset.py. Sizes differ by at most one row.
    Raises FleetError when there are fewer rows than workers.
    """
    count = needed(world_size, num_workers)
    if count < 1:
        raise FleetError(
            "row groups cannot be counted for a run without processes",
            variable="run_config_processes",
            found=str(world_size),
            expected="at least 1",
            remedy="say how many processes the run has",
        )
    if rows < count:
        expected = f"at least {count} ({world_size} ranks × {max(1, num_workers)} workers)"
        too_few = finding("ROWS_TOO_FEW", found=f"{rows} rows", expected=expected, variable="run_config_num_workers")
        raise FleetError.of(too_few)
    small, larger = divmod(rows, count)
    return (small + 1,) * larger + (small,) * (count - larger)


def most_workers(rows: int, world_size: int) -> int:
    """The largest number of workers with which no worker of any rank is without a row; 0 when there is none."""
    return rows // world_size


def starving(groups: int, world_size: int, num_workers: int) -> bool:
    """True when each worker of each rank would get no row group at all (the loader gives all equally many)."""
    return groups // world_size // max(1, num_workers) == 0


def unseen(groups: int, world_size: int, num_workers: int) -> int:
    """Row groups that no worker ever reads, because the loader drops both remainders."""
    workers = max(1, num_workers)
    return groups - groups // world_size // workers * workers * world_size
