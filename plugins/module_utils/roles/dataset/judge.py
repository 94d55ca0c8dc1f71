"""Findings about a parquet file, from an inspection. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ...core.settings import Settings
from ...core.topology import Topology
from ...findings.finding import Finding, finding
from ...trainer import packing
from ...trainer.row_groups import most_workers, starving, unseen
from .inspection import Inspection
from .rows import CUT_IMAGE, NO_SOLUTION_IMAGE

SHOWN = 3  # rows named in a message
# Reasons that are no plain drop.
CODES = {NO_SOLUTION_IMAGE: "SOLUTION_WITHOUT_IMAGE", CUT_IMAGE: "IMAGE_CUT_SHORT"}


def judge(inspection: Inspection, settings: Settings, topology: Topology) -> list[Finding]:
    """Findings about the data itself, about the data in this run's topology, and about the token limits."""
    found = of_data(inspection, settings, topology)
    readable = not (inspection.problem or inspection.missing)
    return [*found, *_tokens(inspection, settings)] if readable else found


def of_data(inspection: Inspection, settings: Settings, topology: Topology) -> list[Finding]:
    """The same without the token limits, which the plan judges."""
    found = list(_file(inspection, "dataset_train"))
    if inspection.test:
        found += _file(inspection.test, "dataset_test")
    if found:
        return found
    found += _rows(inspection, settings)
    found += _groups(inspection, settings, topology)
    found += _alike(inspection)
    found += _mended(inspection, settings)
    return found


def _file(inspection: Inspection, variable: str) -> Iterator[Finding]:
    path = inspection.path
    if inspection.problem:
        yield finding(
            "DATASET_UNREADABLE",
            variable=variable,
            found=f"{path}: {inspection.problem}",
            expected="a parquet file",
        )
    elif inspection.missing:
        yield finding(
            "DATASET_COLUMN_MISSING",
            variable=variable,
            found=f"{path}: {'; '.join(inspection.missing)}",
            expected="answer, question_interleave, solution_interleave, question_images, solution_images",
        )


def _rows(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Rows that the trainer drops or dies of, by reason. With dataset_drop_bad_rows they are reported as left out."""
    by_code: dict[str, dict[str, list[tuple[int, str]]]] = {}
    for row, why in inspection.bad:
        reason, _mark, place = why.partition(": ")
        code = (
            "DATASET_ROWS_DROPPED" if settings.get("dataset_drop_bad_rows") else CODES.get(reason, "DATASET_ROWS_BAD")
        )
        by_code.setdefault(code, {}).setdefault(reason, []).append((row, place))
    for code, reasons in by_code.items():
        count = sum(len(rows) for rows in reasons.values())
        yield finding(
            code,
            variable="dataset_drop_bad_rows" if code == "DATASET_ROWS_DROPPED" else "dataset_train",
            found=f"{inspection.path}: {count} of {inspection.rows} rows (counted from 0); "
            + "; ".join(_reason(reason, rows) for reason, rows in reasons.items()),
            expected="rows that the trainer can learn from",
        )


def _reason(reason: str, rows: Sequence[tuple[int, str]]) -> str:
    """ "3 × answer is empty (rows 3, 17, 41)"."""
    place = f"; {rows[0][1]}" if rows[0][1] else ""
    return f"{len(rows)} × {reason} (row{'s' if len(rows) > 1 else ''} {first(row for row, _unused in rows)}{place})"


def first(rows: Iterable[int]) -> str:
    """The first few numbers."""
    listed = list(rows)
    return ", ".join(map(str, listed[:SHOWN])) + (", …" if len(listed) > SHOWN else "")


def _groups(inspection: Inspection, settings: Settings, topology: Topology) -> Iterator[Finding]:
    workers = max(1, topology.num_workers)
    wanted = f"{topology.world_size} ranks × {workers} workers"
    if inspection.good_rows < topology.row_groups:
        yield finding(
            "ROWS_TOO_FEW",
            variable="run_config_num_workers",
            found=f"{inspection.path}: {inspection.good_rows} rows",
            expected=f"at least {topology.row_groups} ({wanted})",
            remedy=_fewer(inspection.good_rows, topology),
        )
        return
    if settings.get("dataset_reshard", True):
        return
    groups = len(inspection.row_groups)
    lost = unseen(groups, topology.world_size, topology.num_workers)
    if lost:
        starved = starving(groups, topology.world_size, topology.num_workers)
        yield finding(
            "ROW_GROUPS_STARVE" if starved else "ROW_GROUPS_UNSEEN",
            variable="dataset_reshard",
            found=f"{inspection.path}: {groups} row group{'s' if groups > 1 else ''}"
            + ("" if starved else f", {lost} of them never read"),
            expected=f"a multiple of {topology.row_groups} ({wanted})",
        )


def _fewer(rows: int, topology: Topology) -> str:
    workers = most_workers(rows, topology.world_size)
    if workers:
        return f"set run_config_num_workers: {workers} (the most for {topology.world_size} ranks), or add data"
    return f"use at most {rows} processes in all (run_config_processes), each with one worker, or add data"


def _tokens(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    budgets = _budgets(settings)
    lengths = dict(inspection.lengths)
    if not lengths:
        return
    yield from _too_long(inspection, lengths, budgets)
    fitting = {tokens: rows for tokens, rows in lengths.items() if tokens < budgets.per_sample}
    if not fitting:
        return
    longest, about = max(fitting), "" if inspection.text == "counted" else "about "
    if longest > budgets.most and settings.get("run_config_use_flex"):
        yield finding(
            "BATCH_OVERFLOWS",
            variable="run_config_max_num_tokens",
            found=f"{budgets.most} tokens, and samples of up to {about}{longest} that are not skipped",
            expected=f"at least {packing.enough(longest, budgets.expected)}",
        )
    elif budgets.most < packing.enough(longest, budgets.expected):
        share = packing.share_lost(fitting, budgets)
        yield finding(
            "PACKING_DROPS_SAMPLES",
            variable="run_config_max_num_tokens",
            found=f"{budgets.most} tokens, for an expected {budgets.expected} and samples of up to {about}{longest}: "
            f"about {share:.0%} of the samples are thrown away (simulated)",
            expected=f"at least {packing.enough(longest, budgets.expected)}, which keeps them all",
        )


def _budgets(settings: Settings) -> packing.Budgets:
    return packing.Budgets(
        settings["run_config_expected_num_tokens"],
        settings["run_config_max_num_tokens"],
        settings["run_config_max_num_tokens_per_sample"],
        settings["run_config_prefer_buffer_before"],
    )


def _too_long(inspection: Inspection, lengths: Mapping[int, int], budgets: packing.Budgets) -> Iterator[Finding]:
    """An error when even the lower bound of tokens is too high; otherwise a warning."""
    skipped = sum(rows for tokens, rows in lengths.items() if tokens >= budgets.per_sample)
    if not skipped:
        return
    longest, counted = inspection.longest, inspection.text == "counted"
    certain = sum(rows for tokens, rows in inspection.at_least if tokens >= budgets.per_sample)
    number = f"{skipped}" if certain == skipped else f"{certain} to {skipped}"
    judged = finding(
        "SAMPLES_TOO_LONG",
        variable="run_config_max_num_tokens_per_sample",
        found=f"{number} of {inspection.good_rows} samples reach {budgets.per_sample} tokens; the longest "
        f"(row {longest.row}) has {'' if counted else 'about '}{longest.tokens}, "
        f"{longest.image_tokens} of them for its images" + ("" if counted else "; its text is estimated"),
        expected=f"at least {longest.tokens + 1}",
    )
    yield judged if certain else replace(judged, severity="warning")


def _alike(inspection: Inspection) -> Iterator[Finding]:
    """Repeated rows, and test rows in the training set."""
    twice = inspection.duplicates
    if twice:
        pairs = "; ".join(f"row {row} = row {earlier}" for row, earlier in twice[:SHOWN])
        yield finding(
            "DUPLICATE_ROWS",
            variable="dataset_train",
            found=f"{inspection.path}: {len(twice)} of {inspection.rows} rows ({pairs}"
            + ("; …)" if len(twice) > SHOWN else ")"),
            expected="each row once",
        )
    test = inspection.test
    if not test:
        return
    shared = test.rows_in_train
    if shared:
        others = sum(1 for _unused, _unused, same in shared if not same)
        pairs = "; ".join(f"test row {row} = training row {trained}" for row, trained, _unused in shared[:SHOWN])
        yield finding(
            "TEST_ROWS_IN_TRAIN",
            variable="dataset_test",
            found=f"{len(shared)} of {test.rows} test rows repeat the question of a training row ({pairs}"
            + ("; …)" if len(shared) > SHOWN else ")")
            + (f", {others} of them with another answer" if others else ""),
            expected="no question in both",
        )
    if test.folder == inspection.folder:
        yield finding(
            "TRAIN_TEST_TOGETHER",
            variable="dataset_train_dir",
            found=f"{inspection.path} and {test.path} in one folder",
            expected="the training file alone in its folder",
        )


def _mended(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    if inspection.index_nulls:
        yield finding(
            "INDEX_HAS_NULLS",
            variable="dataset_train",
            found=f"{inspection.path}: {inspection.index_nulls} items without index",
            expected="an integer in every item",
        )
    if inspection.foreign_info:
        yield finding(
            "INFO_PATHS_FOREIGN",
            variable="dataset_info_path",
            found=f"{inspection.info} names {inspection.foreign_info[0]}",
            expected=f"this host's {settings.get('dataset_train_file', 'path')}",
        )
