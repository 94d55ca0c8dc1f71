"""Ctrl-C: what goes on at the hosts is said, once, by the main process alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from ansible_collections.canvas.fleet.plugins.plugin_utils import interrupt


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "folder", lambda: str(tmp_path))


@pytest.fixture
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


class TaskQueueManager:
    """Ansible's, as far as it holds the handler."""

    def end(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt


def test_work_is_named_while_it_runs_and_not_after() -> None:
    with interrupt.noted("gpu-01", "weights"), interrupt.noted("gpu-02", "conda-env"):
        told = interrupt.words().splitlines()
    assert told[1:4] == [
        "On the hosts goes on:",
        "  gpu-01  weights  (to end it, on the host: systemctl stop canvas-work-weights)",
        "  gpu-02  conda-env  (to end it, on the host: systemctl stop canvas-work-conda-env)",
    ]
    assert "No long work" in interrupt.words()


def test_work_stays_named_when_its_connection_is_lost() -> None:
    with pytest.raises(ConnectionError), interrupt.noted("gpu-01", "weights"):
        raise ConnectionError
    assert "gpu-01  weights" in interrupt.words()


def test_ctrl_c_says_it_before_ansible_ends(
    handler: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(interrupt.Display, "display", lambda self, text: lines.append(text))
    signal.signal(signal.SIGINT, TaskQueueManager().end)
    interrupt.announce()
    interrupt.announce()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert [line.split()[0] for line in lines] == ["Interrupted."]


def test_the_handler_of_another_program_stays(handler: None) -> None:
    before = signal.getsignal(signal.SIGINT)
    interrupt.announce()
    assert signal.getsignal(signal.SIGINT) is before
