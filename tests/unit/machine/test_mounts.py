"""File systems that do not answer are named with their kind; those that no setting uses are not asked."""

from __future__ import annotations

import time
from pathlib import Path

from ansible_collections.canvas.fleet.plugins.module_utils.machine import mounts


def row(place: str, kind: str = "nfs4", source: str = "nas:/data") -> str:
    return f"36 25 0:30 / {place} rw,relatime shared:1 - {kind} {source} rw"


def silent(table: list[str], *values: str) -> dict[str, str]:
    return mounts.silent(values, time.monotonic() + 20, "\n".join(table))


def test_a_file_system_that_answers_is_not_named(tmp_path: Path) -> None:
    assert silent([row(str(tmp_path))], f"{tmp_path}/outputs") == {}


def test_one_that_does_not_is_named_with_its_kind_and_server() -> None:
    found = silent([row("/not/there")], "/not/there/outputs", "text", "/srv")
    assert list(found) == ["the file system /not/there (nfs4 from nas:/data)"]


def test_one_that_no_setting_uses_is_not_asked() -> None:
    assert silent([row("/not/there"), row("/not")], "/not/therefore", "not/there") == {
        "the file system /not (nfs4 from nas:/data)": silent([row("/not")], "/not/x")[
            "the file system /not (nfs4 from nas:/data)"
        ]
    }


def test_a_space_in_its_name_is_read_as_the_kernel_writes_it() -> None:
    found = silent([row(r"/not\040there"), "a line of another form"], "/not there/outputs")
    assert list(found) == ["the file system /not there (nfs4 from nas:/data)"]
