"""What the plan makes of hosts that were not observed, and of files on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.action.plan import decide_dataset, lost

from tests.unit.support import dataset_files as files


@pytest.mark.parametrize(
    ("result", "in_play", "code"),
    [
        pytest.param({"unreachable": True, "msg": "timed out"}, True, "HOST_UNREACHABLE", id="nobody answers"),
        pytest.param({}, False, "HOST_MISSING", id="left out by --limit"),
        pytest.param({"observation": {}}, False, "HOST_MISSING", id="lost after it was observed earlier in the play"),
        pytest.param(
            {"failed": True, "msg": "could not find matching plugin: 'doas'"},
            False,
            "BECOME_PROGRAM_MISSING",
            id="a task that failed for Ansible itself",
        ),
        pytest.param({"observation": {}}, True, None, id="observed"),
    ],
)
def test_why_a_host_was_not_observed(result: dict[str, Any], in_play: bool, code: str | None) -> None:
    found = lost(result, in_play)
    assert (found.code if found else None) == code


@pytest.mark.parametrize(
    ("change", "code", "variable"),
    [
        pytest.param({"dataset_train": "/nowhere/a.parquet"}, "DATASET_MISSING", "dataset_train", id="no such file"),
        pytest.param(
            {"dataset_train_sha256": "a" * 64}, "DATASET_DIGEST_WRONG", "dataset_train_sha256", id="another file"
        ),
    ],
)
def test_what_is_wrong_with_the_controllers_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], code: str, variable: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    told = {**files.settings(tmp_path / "host", files.write(tmp_path / "a.parquet", [files.row(0)])), **change}
    made = decide_dataset({}, told, files.topology())
    assert [(found.code, found.variable) for found in made.findings] == [(code, variable)]
