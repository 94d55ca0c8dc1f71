"""Loads the training copy on the host as the trainer does, and prints what its workers would get."""

import io
import json
import os
import sys

import pyarrow.parquet as pq
from PIL import Image

SIDES = ("question", "solution")


def shares_of(folder, info, ranks, workers):
    """Row groups of each worker: the first parquet of the folder, looked up by full path, floored twice."""
    with open(info, encoding="utf-8") as text:
        known = json.load(text)
    paths = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".parquet")][:1]
    groups = sorted((path, group) for path in paths if path in known for group in range(known[path]["num_row_groups"]))
    per_worker = len(groups) // ranks // workers
    return [groups[place * per_worker : (place + 1) * per_worker] for place in range(ranks * workers)]


def images_of(row):
    """By the trainer's own way: images[item["index"]]."""
    for side in SIDES:
        pictures = list(row[f"{side}_images"])
        for item in row[f"{side}_interleave"]:
            if item["type"] == "image":
                yield Image.open(io.BytesIO(pictures[item["index"]]["bytes"])).size


def main(folder, info, ranks, workers):
    shares = shares_of(folder, info, ranks, workers)
    tables = [pq.ParquetFile(path).read_row_group(group) for share in shares for path, group in share]
    rows = [row for table in tables for row in table.to_pylist()]
    items = [table[f"{side}_interleave"].combine_chunks().flatten() for table in tables for side in SIDES]
    indexes = [item.field("index") for item in items]
    found = {
        "workers": len(shares),
        "groups": sorted({len(share) for share in shares}),
        "rows": len({row["task_id"] for row in rows}),
        "index": sorted({str(index.type) for index in indexes}),
        "nulls": sum(index.null_count for index in indexes),  # pandas would make floats of them
        "images": all(len(list(images_of(row))) >= 2 for row in rows),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
