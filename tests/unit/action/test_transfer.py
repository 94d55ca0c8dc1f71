"""One file by sftp: who ends it, what it says, and a host that drips."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.plugin_utils import transfer
from ansible_collections.canvas.fleet.plugins.plugin_utils.transfer import Total, Transfer

from tests.unit.support import actions

Bring = Callable[..., bytes]


class Clock(actions.Clock):
    """Really sleeps, for a program that works meanwhile."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        time.sleep(min(seconds, 0.05))


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bring:
    """Lets a program in the place of sftp write the part; `size` bytes are announced."""
    monkeypatch.setitem(vars(transfer.constants), "DEFAULT_LOCAL_TMP", str(tmp_path))

    def brought(program: str, size: int, seconds: float = 600) -> bytes:
        part = tmp_path / "x.part"
        head = f"import os, subprocess, sys, time\nout = open({str(part)!r}, 'ab', buffering=0)\n"
        command = [word.encode() for word in (sys.executable, "-c", head + program)]
        Transfer(lambda: command, print, Clock(), seconds).bring("/r/x", str(part), size, Total(size))
        return part.read_bytes()

    return brought


def test_sftp_ends_with_the_group_of_ansibles_worker(bring: Bring) -> None:
    ours = str(os.getpgrp()).encode()
    assert bring("out.write(str(os.getpgrp()).encode())", len(ours)) == ours


def test_a_file_that_has_come_is_not_refused_for_a_warning(bring: Bring) -> None:
    assert bring("sys.stderr.write('/home/me/.ssh/id: No such file or directory'); out.write(b'12345')", 5) == b"12345"


def test_a_child_that_holds_the_pipe_is_not_waited_for(bring: Bring) -> None:
    begin = time.monotonic()
    assert bring("subprocess.Popen(['sleep', '5']); out.write(b'12345')", 5) == b"12345"
    assert time.monotonic() - begin < 4


def test_the_last_words_count_after_a_long_banner(bring: Bring) -> None:
    with pytest.raises(FleetError, match="may not read"):
        bring("sys.exit('hello ' * 5000 + 'remote open: Permission denied')", 5)


@pytest.mark.parametrize("end", ["", "sys.exit('Unable to resume: local file is larger than remote')"])
def test_a_file_that_has_become_shorter_is_not_waited_for(bring: Bring, end: str) -> None:
    with pytest.raises(transfer.OtherContentError, match="become shorter"):
        bring(f"out.write(b'1'); {end}", 5)


def test_a_host_that_drips_counts_as_one_that_sends_nothing(bring: Bring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "STALL", 4)
    with pytest.raises(FleetError, match="could not be fetched"):
        bring("while True: out.write(b'x'); time.sleep(0.01)", 1_000, 5)
