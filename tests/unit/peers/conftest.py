"""The first node of a run, for tests of what its peers ask it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.peers import group as peers
from ansible_collections.canvas.fleet.plugins.module_utils.peers.server import Server

from tests.unit.support.nodes import Node, first, serving


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PAUSE", 0.02)
    monkeypatch.setattr(peers, "SETTLE", 0.3)


@pytest.fixture
def server() -> Iterator[Server]:
    made = serving()
    yield made
    made.close()


@pytest.fixture
def master(tmp_path: Path, server: Server) -> Node:
    return first(tmp_path / "master", server)
