"""Entries about the data that is trained on (see catalogue.py)."""

from __future__ import annotations

from .entry import Entry

ENTRIES: dict[str, Entry] = {
    # data
    "DATASET_NOT_PARQUET": Entry(
        "error",
        "the trainer reads parquet files only; csv and json hold no images",
        "read the file with pandas, add images as bytes (question_images, solution_images) and their order "
        "(question_interleave, solution_interleave), and save it with to_parquet",
    ),
    "DATASET_UNREADABLE": Entry("error", "the file is damaged or not in the parquet format", "copy the file again"),
    "DATASET_MISSING": Entry("error", "the host has no training data", "set dataset_source and its paths"),
    "DATASET_COLUMN_MISSING": Entry(
        "error", "the loader reads five columns of each row", "convert the data again with all five columns"
    ),
    "DATASET_ROWS_BAD": Entry(
        "error",
        "the trainer skips bad rows and goes on",
        "repair the rows, or set dataset_drop_bad_rows: true to leave them out",
    ),
    "SOLUTION_WITHOUT_IMAGE": Entry(
        "error",
        "a row whose solution has no image ends the training with an IndexError when it is alone in its batch",
        "repair the rows, or set dataset_drop_bad_rows: true to leave them out",
    ),
    "IMAGE_CUT_SHORT": Entry(
        "error",
        "the trainer fills the missing part of a cut image with grey and learns from it",
        "repair the rows, or set dataset_drop_bad_rows: true to leave them out",
    ),
    "DUPLICATE_ROWS": Entry(
        "warning", "a repeated row counts once for each copy", "remove the copies, unless you want them"
    ),
    "DATASET_ROWS_DROPPED": Entry(
        "warning",
        "dataset_drop_bad_rows leaves these rows out of the training copy; the original keeps them",
        "mend the rows if they matter",
    ),
    "DATASET_FOLDER_FOREIGN": Entry(
        "error",
        "the trainer takes parquet files in directory order, so it may train on another file",
        "move the named file out of dataset_train_dir",
    ),
    "DATASET_DIGEST_WRONG": Entry(
        "error",
        "the file differs from the one whose digest the inventory gives",
        "correct the digest in the inventory, or replace the file",
    ),
    "DATASET_FILE_FOREIGN": Entry(
        "error",
        "canvas-fleet never overwrites a file of somebody else",
        "move the file away, or name it as the source",
    ),
    "INDEX_HAS_NULLS": Entry(
        "note",
        "a null index turns the column into floats, and the trainer then drops every row",
        "no action needed: the dataset role writes index as int64 without nulls",
    ),
    "TRAIN_TEST_TOGETHER": Entry(
        "note",
        "the two files share a folder, and the directory order decides which one is trained on",
        "no action needed: the dataset role keeps the training copy in its own folder",
    ),
    "INFO_PATHS_FOREIGN": Entry(
        "note",
        "the loader finds its files by full path; the paths of another machine match nothing",
        "no action needed: the dataset role writes the info file of this host",
    ),
    "ROW_GROUPS_STARVE": Entry(
        "error",
        "a worker without a row group waits for ever and prints no error",
        "set dataset_reshard: true; it rewrites the row groups of this host's copy and keeps every row",
    ),
    "ROW_GROUPS_UNSEEN": Entry(
        "warning",
        "every worker gets equally many row groups; the loader drops the rest without a message",
        "set dataset_reshard: true; it rewrites the row groups of this host's copy and keeps every row",
    ),
    "ROWS_TOO_FEW": Entry(
        "error",
        "each worker needs a row; a worker without one waits for ever",
        "lower run_config_num_workers or the number of processes, or add data",
    ),
    "TEST_ROWS_IN_TRAIN": Entry(
        "warning",
        "a test on rows that were trained on measures nothing; rows count as equal when text and pixels of their "
        "questions are equal",
        "take the named rows out of one of the two files, or split the data again by question",
    ),
}
