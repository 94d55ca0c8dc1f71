"""The run's secret as a unit gets it, and what may be shown of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.peers.secret import (
    CREDENTIAL,
    fingerprint,
    key_of_unit,
    read,
    run_key,
)

from tests.unit.support.nodes import SECRET


def test_a_unit_reads_its_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / CREDENTIAL).write_text(SECRET + "\n")
    assert key_of_unit("a") == run_key(SECRET, "a") != key_of_unit("b")


@pytest.mark.parametrize("text", [None, "", "short", SECRET[:-1], SECRET + "5e", "z" * 64, SECRET.upper()])
def test_what_is_no_secret_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    if text is not None:
        (tmp_path / CREDENTIAL).write_text(text)
    assert read(str(tmp_path / CREDENTIAL)) == ""
    with pytest.raises(FleetError, match="converge all nodes of the run together") as error:
        key_of_unit("a")
    assert text is None or len(text) < 10 or text not in str(error.value)


def test_a_pipe_is_no_secret_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read(str(tmp_path / "pipe")) == ""


def test_a_fingerprint_tells_secrets_apart_and_shows_none() -> None:
    assert fingerprint(SECRET) != fingerprint("00" * 32)
    assert fingerprint("") == fingerprint("x") == ""
    assert len(fingerprint(SECRET)) == 16
    assert SECRET[:8] not in fingerprint(SECRET)
