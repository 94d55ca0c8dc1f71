"""The known upstream code: commits, and digests of the files that the rules rest on.

What the findings say of the trainer was read in MathCanvas' BAGEL-Canvas at these commits. On another commit a rule
still holds when every file that it rests on is the same, byte for byte; the others are no longer sure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

COMMITS = ("cc48f16eabcc30baac600a7148606a7fa2026269", "4bcc6047bfd29b7174199580bbb99af76f7052f8")  # newest first
BAGEL_REPO = "https://github.com/ByteDance-Seed/Bagel"
NAMED = 4  # files that a sentence names before it counts


class File:
    """Rules (codes of findings) that rest on a file, and the SHA-256 that it has at the known commits."""

    def __init__(self, rules: str, *digests: str) -> None:
        self.rules = tuple(rules.split())
        self.digests = digests


FILES: dict[str, File] = {  # below canvas_code_dir
    "data/dataset_base.py": File(
        "YAML_DIALECT SAMPLES_TOO_LONG PACKING_DROPS_SAMPLES",
        "b17853f572a4f39cc1997376565af03ff57f0e9dd18ee2df2d9607520bf180c2",
    ),
    "data/dataset_info.py": File(
        "REGISTRATION_DIALECT GROUP_UNKNOWN",
        "f759cfd1573e4dfd989bcc9123bce5f32a99b73eb4befbf1cb054170cbe1be36",
    ),
    "data/data_utils.py": File(
        "SAMPLES_TOO_LONG",
        "cccb2a9b61fd34e1f3e89f15c26a02e0b6ae5f4d9c228f22416ba56e73030e6f",
    ),
    "data/transforms.py": File(
        "SAMPLES_TOO_LONG",
        "39b215df50a2eefd920a65886925e7d933161d55f4bcb51fb04e5921dc763ce4",
    ),
    "data/distributed_iterable_dataset.py": File(
        "ROW_GROUPS_STARVE ROW_GROUPS_UNSEEN ROWS_TOO_FEW",
        "e3c5def63c32fe266f1d5ccbf975293756f5bcdeaee71d349bd268cc453f74d9",
    ),
    "data/parquet_utils.py": File(
        "DATASET_FOLDER_FOREIGN TRAIN_TEST_TOGETHER",
        "bbe4fba10fc740fdbc8f204d7b1e4202a620b546287fae7924b01a22bbc57f0a",
    ),
    "data/interleave_datasets/interleave_t2i_dataset.py": File(
        "INFO_PATHS_FOREIGN ROW_GROUPS_STARVE WORKERS_GROWN SAMPLES_TOO_LONG",
        "40bd1b64c8b01012923f6ae4ffbd9afe41c7210308f83c934192f5784cf89af9",
    ),
    "data/interleave_datasets/interleave_reason_dataset.py": File(
        "DATASET_COLUMN_MISSING DATASET_ROWS_BAD INDEX_HAS_NULLS",
        "298dd119d3687d91dde1399c1d902185be6a9ebe7dda3ca6a3025176542b8a44",
    ),
    "train/pretrain_unified_navit.py": File(
        "FLAG_UNKNOWN WEIGHTS_NOT_ASKED TAIL_STEPS_UNSAVED NO_SAVE_AT_ALL EMA_TOO_SLOW WARMUP_NEVER_ENDS",
        "54723c1474206056124420a1646b5ec5c8f3165dd583b1d53450bf1ae83f558f",
        "56803ec4580d140f48ad37a34b400a26b045c10b0f7cbd5fa6bb9e3c1cc97848",
    ),
    "train/fsdp_utils.py": File(
        "WEIGHTS_NOT_ASKED SHARDS_MISMATCH REPLICAS_NOT_AVERAGED CHECKPOINT_INCOMPLETE CHECKPOINT_SHARDS_DIFFER"
        " GPU_MEMORY_SHORT HOST_MEMORY_SHORT",
        "97c822d93f9083c2a0da16633eda12a46e868851cc8c2b6015d1733292d0d1db",
    ),
    "train/train_utils.py": File(
        "CHECKPOINTS_FOREIGN_NAME",
        "565cc07cae1b23bdba7079458a1c86f36587179837e1ee88f4591a6042581580",
    ),
    "train/log_utils.py": File(
        "DEBUG_BATCHES_PRINT",
        "8883bafec77033fecb3d6d896d7a1b3a5680f9ede9d512720de1128c49d8d263",
    ),
    "modeling/bagel/bagel.py": File(
        "GPU_MEMORY_SHORT",
        "670788638fc832241c70dc838f1b5a531a6b466424938ce436c3e0e0bd294bcf",
    ),
    "modeling/bagel/modeling_utils.py": File(
        "GPU_MEMORY_SHORT",
        "6fe5eed0513a462c28cccd8ec86d5496b774667fa6f04be8f70e6595baf3f323",
    ),
    "modeling/bagel/qwen2_navit.py": File(
        "GPU_MEMORY_SHORT",
        "d85e6d0448aa137f338abab5bda6820c5de0c32b5c08afb529d329fed3348c49",
    ),
    "modeling/bagel/siglip_navit.py": File(
        "GPU_MEMORY_SHORT",
        "400df7042566aa1fdbb2a63b72261ebccd0fc9e890f9f883287d84082e9311eb",
    ),
    "modeling/autoencoder.py": File(
        "GPU_MEMORY_SHORT",
        "57941c0c14b9487e9a95f4d048755ab5ad4b75d144874009e3ba8a0302e68efa",
    ),
}

# train/pretrain_unified_navit.py of 4bcc604 calls a function that it does not import, where debug_batches is not 0.
DEBUG_BROKEN = FILES["train/pretrain_unified_navit.py"].digests[1]

# ByteDance-Seed/Bagel, from which BAGEL-Canvas was made: its trainer and its registry at all of their commits.
BAGEL = frozenset(
    {
        "375a6310388203f64fba0aa9683f6cd6bb7e3956b76b45da54b93259933ac2e6",
        "bb5318d7c1513de0966b1a7213f598a28e2c264aac5a35c17d1ab83f38da9bc4",
        "cde1189b927e7d261f13d92a569b0ea6df15083bed5bbf3d33d11a473b71ffef",
        "be8f7c258d38fd547aa38d3fe6f1ce297e7f92aa34e1084c1c977055f637e9ea",
        "be251b2ffbe974a9b4057ef8dcfaa0b3425fad0d4918e1f8a540b3945e0c237e",
        "c83b9950b3d86a2f1e56b6b228a6b8b733664282a5529ad8a29afee066dd7e71",
        "e4466e3ca52f5b85be6671c9fbb81ddffb6c5174009f81da321ea52e9c5dc205",
    }
)


@dataclass(frozen=True)
class Compared:
    """A tree compared with the known one. other: paths that differ; missing: paths without a file."""

    other: tuple[str, ...]
    missing: tuple[str, ...]
    holding: tuple[str, ...]
    unsure: tuple[str, ...]

    @property
    def known(self) -> bool:
        return not self.other and not self.missing

    def differences(self) -> str:
        if len(self.other) + len(self.missing) == len(FILES):
            return f"none of the {len(FILES)} files that the rules rest on is known"
        parts = [("changed", self.other), ("not there", self.missing)]
        return "; ".join(f"{what}: {_named(paths)}" for what, paths in parts if paths)


def compare(digests: Mapping[str, str]) -> Compared:
    """`digests`: path to SHA-256 of the file without what canvas-fleet put into it, "" where there is none."""
    missing = tuple(path for path in FILES if not digests.get(path))
    other = tuple(path for path in FILES if path not in missing and digests[path] not in FILES[path].digests)
    unsure = {rule for path in (*missing, *other) for rule in FILES[path].rules}
    rules = {rule for file in FILES.values() for rule in file.rules}
    return Compared(other, missing, tuple(sorted(rules - unsure)), tuple(sorted(unsure)))


def is_bagel(digests: Mapping[str, str]) -> bool:
    return any(digest in BAGEL for digest in digests.values())


def _named(paths: tuple[str, ...]) -> str:
    return ", ".join(paths[:NAMED]) + (f" and {len(paths) - NAMED} more" if len(paths) > NAMED else "")
