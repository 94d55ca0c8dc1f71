"""Looks into parquet files before anything is changed. Runs on a host (in the work) and on the controller alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...core.errors import raise_for
from ...system import files
from ...trainer.tokens import Transforms, counter, text_bounds
from . import digests, rows
from .digests import RowDigests
from .judge import judge, plain_shape
from .rows import Count

Progress = Callable[[int, int, str, str], None]


def quiet(done: int, total: int, unit: str, what: str) -> None:
    """A progress that says nothing."""


def inspect(path: str, test: str = "", progress: Progress = quiet, tokenizer: str = "") -> dict[str, Any]:
    """What the training file holds, and how the test file relates to it; input of judge().

    Never raises for a bad file: `problem` or `missing` say what is wrong, `bad` lists [row, why] (rows from 0).
    `tokenizer` is a folder with the model's vocab.json and merges.txt; without it texts are estimated.
    """
    count = counter(tokenizer)
    found, trained = _inspect(path, progress, count or text_bounds)
    found["text"] = "counted" if count else "estimated"
    found["duplicates"] = digests.duplicates(trained)
    if test:
        found["test"], asked = _inspect(test, progress, count or text_bounds)
        found["test"]["rows_in_train"] = digests.leaks(trained, asked)
    return found


def _inspect(path: str, progress: Progress, count: Count) -> tuple[dict[str, Any], list[RowDigests]]:
    found: dict[str, Any] = {
        "path": path, "folder": str(Path(path).parent), "rules": rows.RULES, "problem": "", "missing": [],
        "rows": 0, "row_groups": [], "bad": [], "index_nulls": 0, "lengths": [], "at_least": [], "longest": {},
    }  # fmt: skip
    try:
        file = rows.open_parquet(path)
        meta = file.metadata
        found["rows"] = meta.num_rows
        found["row_groups"] = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
        found["missing"] = rows.missing_columns(file.schema_arrow)
        if found["missing"]:
            return found, []

        def on_progress(done: int) -> None:
            progress(done, meta.num_rows, "rows", f"checking {Path(path).name}")

        seen = rows.read_rows(file, path, Transforms(), on_progress, count)
    except Exception as error:  # pyarrow raises OSError, ArrowInvalid and more for what is no whole parquet file
        found["problem"] = " ".join(str(error).split())[:300] or type(error).__name__
        return found, []
    found.update(bad=[list(one) for one in seen.bad], index_nulls=seen.index_nulls, longest=seen.longest)
    for name, counted in {"lengths": seen.lengths, "at_least": seen.at_least}.items():
        found[name] = [list(one) for one in sorted(counted.items())]
    found.update(_info_beside(Path(path)))
    return found, seen.digests


def _info_beside(path: Path) -> dict[str, Any]:
    """The user's own info file beside the parquet, when it names another machine's paths."""
    info = path.with_name(f"{path.stem}_info.json")
    content = files.load(info)
    named = [name for name in content if isinstance(name, str) and name.endswith(".parquet")]
    foreign = [name for name in named if name != str(path)]
    return {"info": str(info), "foreign_info": foreign} if foreign else {}


def refuse(inspection: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raises FleetError with the first error of the data itself; limits of the run are the plan's matter."""
    own = {name: value for name, value in settings.items() if name.startswith("dataset_")}
    raise_for(judge(inspection, own, plain_shape(settings)))
