"""What a trainer's code says it can do by itself, so that no patch of ours is wanted for it.

The code has a file fleet_built_in.json beside its folder train, written by those who maintain that code:
{"built_in": ["training_profile: lora"], "files": {"train/pretrain_unified_navit.py": "<its SHA-256>"}}
It names each file that there is of those that patches change. Where one of these is another than it says, edited by
hand for example, nothing is built in, and the patches are asked for as ever. Upstream's code has no such file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core import wire

NAME = "fleet_built_in.json"  # below canvas_code_dir
LIMIT = 1 << 16  # bytes


@dataclass(frozen=True)
class Declared:
    """`built_in`: settings as "variable: value". `files`: path to SHA-256 as committed."""

    built_in: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def settings(data: bytes | None, digests: Mapping[str, str]) -> tuple[str, ...]:
    """Settings that want no patch. `data`: of the file, None where there is none. `digests`: of each file that patches
    change, without patches; "" for a missing one."""
    if data is None or len(data) > LIMIT:
        return ()
    try:
        declared = wire.from_record(Declared, json.loads(data))
    except (ValueError, RecursionError):
        return ()
    if declared is None or dict(declared.files) != {path: digest for path, digest in digests.items() if digest}:
        return ()
    return declared.built_in
