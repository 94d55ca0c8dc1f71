"""Entries about the data that is trained on (see catalogue.py)."""

from __future__ import annotations

from .entry import Entry

ENTRIES: dict[str, Entry] = {
    # data
    "DATASET_UNREADABLE": Entry("error", "the file is not a parquet file that can be read", "copy the file again"),
    "DATASET_MISSING": Entry("error", "there is nothing to train on", "set dataset_source and its paths"),
    "DATASET_COLUMN_MISSING": Entry(
        "error", "the loader reads these columns of each row", "convert the data again with all five columns"
    ),
    "DATASET_ROWS_BAD": Entry(
        "error",
        "the trainer drops such rows without stopping",
        "mend the rows, or set dataset_drop_bad_rows: true to leave them out on purpose",
    ),
    "SOLUTION_WITHOUT_IMAGE": Entry(
        "error",
        "such a row ends the training with an IndexError as soon as it is alone in its batch",
        "mend the rows, or set dataset_drop_bad_rows: true to leave them out on purpose",
    ),
    "IMAGE_CUT_SHORT": Entry(
        "error",
        "the trainer loads what is there of a cut image and learns a grey rest as if it were the picture",
        "mend the rows, or set dataset_drop_bad_rows: true to leave them out on purpose",
    ),
    "DUPLICATE_ROWS": Entry(
        "warning", "a row that is there twice weighs twice", "remove the copies, if they are not meant"
    ),
    "DATASET_ROWS_DROPPED": Entry(
        "warning",
        "dataset_drop_bad_rows leaves these rows out of the training copy; the original keeps them",
        "mend the rows if they matter",
    ),
    "DATASET_FOLDER_FOREIGN": Entry(
        "error",
        "the trainer takes any parquet of its folder in directory order, so another file may be trained on",
        "move the named file out of dataset_train_dir",
    ),
    "DATASET_DIGEST_WRONG": Entry(
        "error", "this is not the file that was meant", "correct the digest in the inventory, or the file"
    ),
    "DATASET_FILE_FOREIGN": Entry(
        "error",
        "a file that somebody else put there is never overwritten",
        "move it away if it is not needed, or name it as the source",
    ),
    "INDEX_HAS_NULLS": Entry(
        "note",
        "a null index turns the column into floats and the trainer drops every row",
        "nothing to do: the dataset role writes index as int64 without nulls",
    ),
    "TRAIN_TEST_TOGETHER": Entry(
        "note",
        "with both files in one folder the directory order decides which one is trained on",
        "nothing to do: the dataset role keeps the training copy in a folder of its own",
    ),
    "INFO_PATHS_FOREIGN": Entry(
        "note",
        "the loader looks its files up by full path; another machine's paths match nothing",
        "nothing to do: the dataset role writes the info file of this host",
    ),
    "ROW_GROUPS_STARVE": Entry(
        "error",
        "a worker without a row group waits for ever and says nothing",
        "dataset_reshard: true rewrites the row groups of this host's copy; no row is lost",
    ),
    "ROW_GROUPS_UNSEEN": Entry(
        "warning",
        "the loader gives every worker equally many row groups and drops the rest, in silence",
        "dataset_reshard: true rewrites the row groups of this host's copy; no row is lost",
    ),
    "ROWS_TOO_FEW": Entry(
        "error",
        "there are fewer rows than workers, so some worker has nothing and waits for ever",
        "fewer run_config_num_workers or processes, or more data",
    ),
    "TEST_ROWS_IN_TRAIN": Entry(
        "warning",
        "what was trained on measures nothing; questions are compared by their text and by the pixels of their images",
        "take the named rows out of one of the two files, or split the data again by question",
    ),
}
