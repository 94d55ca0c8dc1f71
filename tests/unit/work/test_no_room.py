"""A work on a disk that takes nothing more: how it ended reaches the controller all the same."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError, refused_by_host
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import tools
from ansible_collections.canvas.fleet.plugins.module_utils.system import files, programs
from ansible_collections.canvas.fleet.plugins.module_utils.system.git import Git
from ansible_collections.canvas.fleet.plugins.module_utils.work.runner import JobRunner, JobSpec

from tests.unit.support.places import ROOT
from tests.unit.work.test_runner import FakeUnits, user_name

SAYS = "import sys; print({!r}); sys.exit(1)"
PIP = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"


@contextmanager
def files_of(size: int) -> Iterator[None]:
    """No file of this process may grow beyond it: the kernel refuses the write, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("taken", "words", "kept"), [("result.json", "KeyError: ", ["result.json"]), ("log", "Is a directory", [])]
)
def test_a_work_whose_record_takes_nothing_says_how_it_ended(
    tmp_path: Path, taken: str, words: str, kept: list[str]
) -> None:
    units = FakeUnits()
    runner = JobRunner(tmp_path / "state", "weights", units, tmp_path / "run")
    order = JobSpec("weights", "fleet_agent", {"n": 1}, user_name(), sys.executable, "t1", {"token": "s3cr3t"})
    runner.started(order)
    (tmp_path / "state/work/weights/own" / taken).mkdir()
    units.end()
    for _lost_answer in range(2):
        answer = runner.polled(order.digest)
        assert answer["phase"] == "ended"
        assert words in str(answer["result"]["error"])
    assert [path.name for path in (tmp_path / "run").rglob("*.json")] == kept  # and no secret
    runner.absent(check=False)
    assert not (tmp_path / "run/weights").exists()


def test_a_program_goes_on_although_its_log_takes_nothing(tmp_path: Path) -> None:
    code = f"""if True:
        import resource, subprocess, sys
        from ansible_collections.canvas.fleet.plugins.module_utils.system import files
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        with files.captured({str(tmp_path / "log")!r}, str):
            flood = "for number in range(20_000): print('line', number)"
            code = subprocess.run([sys.executable, "-c", flood], check=False, timeout=50).returncode
        sys.exit(code)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=55, env={"PYTHONPATH": str(ROOT / "collections")}
    )
    assert done.returncode == 0
    assert (tmp_path / "log").read_bytes().startswith(b"line 0\n")


def test_a_write_that_finds_no_room_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(tmp_path / "x")) as raised, files_of(10):
        files.write(tmp_path / "x", b"a" * 100)
    assert refused_by_host(raised.value).found.startswith(f"{tmp_path / 'x'}: ")
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_finds_no_room_is_no_other_failure(tmp_path: Path) -> None:
    """Callers explain a failed program by what it is for: not this one."""
    git = ("-c", "alias.x=!echo 'fatal: write error: No space left on device' >&2; exit 128", "x")
    for call in (
        lambda: programs.must(sys.executable, "-c", SAYS.format(PIP)),
        lambda: tools.call([sys.executable, "-c", SAYS.format(PIP)], "pip failed"),
        lambda: Git(str(tmp_path))(*git),
        lambda: Git(str(tmp_path)).line(*git),
    ):
        with pytest.raises(OSError, match="No space left on device") as raised:
            call()
        assert raised.value.errno == errno.ENOSPC
        assert refused_by_host(raised.value).message == "the disk is full"


@pytest.mark.parametrize(("blocks", "inodes", "full"), [(0, 9, True), (9, 0, True), (9, 9, False)])
def test_a_program_names_no_cause_and_the_disk_tells_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blocks: int, inodes: int, full: bool
) -> None:
    """Seen on a full disk: "failed to write new configuration file", and a venv whose ensurepip failed."""
    disk = (4096, 4096, 9, blocks, blocks, 9, inodes, inodes, 0, 255)
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(disk))
    with pytest.raises(OSError if full else FleetError, match="not a git repository"):
        Git(str(tmp_path))("remote", "add", "origin", "git://x/y")
    with pytest.raises(OSError if full else FleetError, match="returned non-zero"):
        programs.must(sys.executable, "-c", SAYS.format("Error: ensurepip returned non-zero"), writes=str(tmp_path))
