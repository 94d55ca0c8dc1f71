"""Why a host was not observed: recorded words of ssh and Ansible, told as findings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.action.plan import decide_dataset, lost

from tests.unit.support import dataset_files as files

CHANGED = (
    "Failed to connect to the host via ssh: @@@@@@@@@@@@@@@@@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS "
    "CHANGED!     @\n@@@@@@@@@@@@@@@@@@@@@@@\nHost key verification failed."
)
TIMEOUT = "Failed to connect to the host via ssh: ssh: connect to host 10.0.0.9 port 22: No route to host"


@pytest.mark.parametrize(
    ("result", "in_play", "code"),
    [
        pytest.param({"unreachable": True, "msg": CHANGED}, True, "HOST_KEY_CHANGED", id="another machine answers"),
        pytest.param({"unreachable": True, "msg": TIMEOUT}, True, "HOST_UNREACHABLE", id="nobody answers"),
        pytest.param({"failed": True, "msg": "sudo: a password is required"}, True, "HOST_UNREACHABLE", id="no sudo"),
        pytest.param({}, False, "HOST_MISSING", id="left out by --limit"),
        pytest.param({"observation": {}}, False, "HOST_MISSING", id="lost after it was observed earlier in the play"),
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
