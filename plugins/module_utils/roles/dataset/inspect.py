"""Inspects parquet files before any change. Runs on hosts (in the work) and on the controller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...core.errors import raise_for
from ...core.settings import Settings
from ...core.topology import Topology
from ...system import files
from ...trainer.tokens import Transforms, counter, text_bounds
from . import digests, rows
from .digests import RowDigests
from .inspection import Inspection
from .judge import of_data
from .rows import Count

Progress = Callable[[int, int, str, str], None]


def quiet(done: int, total: int, unit: str, what: str) -> None:
    """A progress callback that does nothing."""


def inspect(path: str, test: str = "", progress: Progress = quiet, tokenizer: str = "") -> Inspection:
    """Inspect the training file and compare the test file with it. Never raises for a bad file.

    `tokenizer` is a folder with the model's vocab.json and merges.txt; without it texts are estimated.
    """
    count = counter(tokenizer)
    found, trained = _inspect(path, progress, count or text_bounds)
    found = replace(found, text="counted" if count else "estimated", duplicates=tuple(digests.duplicates(trained)))
    if not test:
        return found
    tested, asked = _inspect(test, progress, count or text_bounds)
    return replace(found, test=replace(tested, rows_in_train=tuple(digests.leaks(trained, asked))))


def _inspect(path: str, progress: Progress, count: Count) -> tuple[Inspection, list[RowDigests]]:
    found = Inspection(path, str(Path(path).parent), rows.RULES)
    try:
        file = rows.open_parquet(path)
        meta = file.metadata
        groups = tuple(meta.row_group(group).num_rows for group in range(meta.num_row_groups))
        missing = tuple(rows.missing_columns(file.schema_arrow))
        found = replace(found, rows=meta.num_rows, row_groups=groups, missing=missing)
        if missing:
            return found, []

        def on_progress(done: int) -> None:
            progress(done, meta.num_rows, "rows", f"checking {Path(path).name}")

        seen = rows.read_rows(file, path, Transforms(), on_progress, count)
    except Exception as error:  # pyarrow raises OSError, ArrowInvalid and more for what is no whole parquet file
        return replace(found, problem=" ".join(str(error).split())[:300] or type(error).__name__), []
    info, foreign = _info_beside(Path(path))
    found = replace(
        found,
        bad=tuple(seen.bad),
        index_nulls=seen.index_nulls,
        lengths=tuple(sorted(seen.lengths.items())),
        at_least=tuple(sorted(seen.at_least.items())),
        longest=seen.longest,
        info=info,
        foreign_info=foreign,
    )
    return found, seen.digests


def _info_beside(path: Path) -> tuple[str, tuple[str, ...]]:
    """The user's info file beside the parquet, and its paths of another machine; or nothing."""
    info = path.with_name(f"{path.stem}_info.json")
    content = files.load(info)
    named = [name for name in content if isinstance(name, str) and name.endswith(".parquet")]
    foreign = tuple(name for name in named if name != str(path))
    return (str(info), foreign) if foreign else ("", ())


def refuse(inspection: Inspection, settings: Settings, topology: Topology) -> None:
    """Raises FleetError with the first error of the data itself."""
    raise_for(of_data(inspection, settings, topology))
