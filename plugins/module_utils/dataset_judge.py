"""What is wrong with a parquet file, told as findings. Pure: `inspection` is what dataset_work.inspect() returned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.findings import Finding, finding
from ansible_collections.canvas.fleet.plugins.module_utils.room import RunShape
from ansible_collections.canvas.fleet.plugins.module_utils.row_groups import starving, unseen

SHOWN = 3  # rows named in a message


def plain_shape(settings: Mapping[str, Any]) -> RunShape:
    """The run's shape as far as the data asks, from the role's own two variables."""
    world, workers = int(settings.get("dataset_world_size") or 1), int(settings.get("dataset_num_workers") or 0)
    return RunShape("", ("",), 0, world, workers, "", 0)


def judge(inspection: Mapping[str, Any], settings: Mapping[str, Any], shape: RunShape) -> list[Finding]:
    """Findings about the data itself, about the data in this run's shape, and about the token limits."""
    found = list(_file(inspection, "dataset_train"))
    test = inspection.get("test")
    if test:
        found += _file(test, "dataset_test")
    if found:
        return found
    found += _rows(inspection, settings)
    found += _groups(inspection, settings, shape)
    found += _tokens(inspection, settings)
    found += _test(inspection)
    found += _mended(inspection, settings)
    return found


def _file(inspection: Mapping[str, Any], variable: str) -> Iterator[Finding]:
    path = inspection["path"]
    if inspection.get("problem"):
        yield finding(
            "DATASET_UNREADABLE",
            variable=variable,
            found=f"{path}: {inspection['problem']}",
            expected="a parquet file",
        )
    elif inspection.get("missing"):
        yield finding(
            "DATASET_COLUMN_MISSING",
            variable=variable,
            found=f"{path}: {'; '.join(inspection['missing'])}",
            expected="answer, question_interleave, solution_interleave, question_images, solution_images",
        )


def _rows(inspection: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Finding]:
    bad = inspection["bad"]
    if not bad:
        return
    first = "; ".join(f"row {row}: {why}" for row, why in bad[:SHOWN])
    more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    dropped = bool(settings.get("dataset_drop_bad_rows"))
    yield finding(
        "DATASET_ROWS_DROPPED" if dropped else "DATASET_ROWS_BAD",
        variable="dataset_drop_bad_rows" if dropped else "dataset_train",
        found=f"{inspection['path']}: {len(bad)} of {inspection['rows']} rows; {first}{more}",
        expected="rows that the trainer can learn from",
    )


def good_rows(inspection: Mapping[str, Any]) -> int:
    return int(inspection["rows"]) - len(inspection["bad"])


def _groups(inspection: Mapping[str, Any], settings: Mapping[str, Any], shape: RunShape) -> Iterator[Finding]:
    workers = max(1, shape.num_workers)
    wanted = f"{shape.world_size} ranks × {workers} workers"
    if good_rows(inspection) < shape.row_groups:
        yield finding(
            "ROWS_TOO_FEW",
            variable="run_config_num_workers",
            found=f"{inspection['path']}: {good_rows(inspection)} rows",
            expected=f"at least {shape.row_groups} ({wanted})",
        )
        return
    if settings.get("dataset_reshard", True):
        return
    groups = len(inspection["row_groups"])
    lost = unseen(groups, shape.world_size, shape.num_workers)
    if lost:
        starved = starving(groups, shape.world_size, shape.num_workers)
        yield finding(
            "ROW_GROUPS_STARVE" if starved else "ROW_GROUPS_UNSEEN",
            variable="dataset_reshard",
            found=f"{inspection['path']}: {groups} row group{'s' if groups > 1 else ''}"
            + ("" if starved else f", {lost} of them never read"),
            expected=f"a multiple of {shape.row_groups} ({wanted})",
        )


def _tokens(inspection: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Finding]:
    lengths = [(int(tokens), int(rows)) for tokens, rows in inspection.get("lengths", ())]
    limit = settings.get("run_config_max_num_tokens_per_sample")
    if not lengths or not limit:
        return
    skipped = sum(rows for tokens, rows in lengths if tokens > limit)
    if skipped:
        longest = inspection["longest"]
        yield finding(
            "SAMPLES_TOO_LONG",
            variable="run_config_max_num_tokens_per_sample",
            found=f"{skipped} of {good_rows(inspection)} samples over {limit} tokens; the longest "
            f"(row {longest['row']}) has about {longest['tokens']}, {longest['image_tokens']} of them for its images",
            expected=f"at least {longest['tokens']}",
        )
    packed = max((tokens for tokens, _ in lengths if tokens <= limit), default=0)
    most, wanted = settings.get("run_config_max_num_tokens"), settings.get("run_config_expected_num_tokens")
    if not packed or not most or not wanted:
        return
    enough = max(2 * packed, int(wanted) + packed)
    if most < enough:
        yield finding(
            "PACKING_DROPS_SAMPLES",
            variable="run_config_max_num_tokens",
            found=f"{most} tokens, for an expected {wanted} and samples of up to about {packed}",
            expected=f"at least {enough}",
        )


def _test(inspection: Mapping[str, Any]) -> Iterator[Finding]:
    test = inspection.get("test")
    if not test:
        return
    shared = test.get("rows_in_train", [])
    if shared:
        yield finding(
            "TEST_ROWS_IN_TRAIN",
            variable="dataset_test",
            found=f"{len(shared)} of {test['rows']} test rows have question and answer of a training row "
            f"(test rows {', '.join(map(str, shared[:SHOWN]))}{', …' if len(shared) > SHOWN else ''})",
            expected="no row in both",
        )
    if test.get("folder") == inspection.get("folder"):
        yield finding(
            "TRAIN_TEST_TOGETHER",
            variable="dataset_train_dir",
            found=f"{inspection['path']} and {test['path']} in one folder",
            expected="the training file alone in its folder",
        )


def _mended(inspection: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Finding]:
    if inspection.get("index_nulls"):
        yield finding(
            "INDEX_HAS_NULLS",
            variable="dataset_train",
            found=f"{inspection['path']}: {inspection['index_nulls']} items without index",
            expected="an integer in every item",
        )
    if inspection.get("foreign_info"):
        yield finding(
            "INFO_PATHS_FOREIGN",
            variable="dataset_info_path",
            found=f"{inspection['info']} names {inspection['foreign_info'][0]}",
            expected=f"this host's {settings.get('dataset_train_file', 'path')}",
        )
