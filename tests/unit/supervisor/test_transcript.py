"""The log without colours and the losses, kept beside the trainer's log over starts, cuts and full disks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import transcript
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor.transcript import Transcript
from ansible_collections.canvas.fleet.plugins.module_utils.system import files


def line(step: int, ce: float = 0.5) -> str:
    frame = "[\x1b[34m2026-11-24 12:00:00\x1b[0m]"
    return f"{frame} (step={step:07d}) Train Loss ce: {ce}, Train Loss mse: 0.25, Train Steps/Sec: 0.44, \n"


class Run:
    """A results folder; each start has a transcript of its own."""

    def __init__(self, root: Path) -> None:
        self.log, self.plain, self.table = (root / name for name in ("log.txt", "log.plain.txt", "losses.csv"))
        self.now = 0.0
        self.start()

    def start(self) -> None:
        self.follower = Transcript(str(self.log))

    def say(self, *lines: str) -> None:
        with self.log.open("a") as out:
            out.write("".join(lines))
        self.look()

    def look(self) -> None:
        self.now += 1
        self.follower.look(self.now)

    def steps(self) -> list[str]:
        return [row.partition(",")[0] for row in self.table.read_text().splitlines()[1:]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_the_log_is_followed_without_its_colours(run: Run) -> None:
    run.look()
    assert not run.plain.exists(), "there is no log yet"
    run.say(line(0), line(5)[:40])
    assert run.steps() == ["0"]
    run.say(line(5)[40:], line(10))
    assert run.steps() == ["0", "5", "10"]
    assert "\x1b" not in run.plain.read_text()
    assert run.plain.read_text().splitlines()[1].startswith("[2026-11-24 12:00:00] (step=0000005) Train Loss ce")
    assert run.plain.stat().st_mode & 0o777 == 0o640


def test_a_resume_leaves_each_step_once(run: Run) -> None:
    run.say(line(0), line(5), line(10))
    run.start()
    run.say(line(5, 0.1), line(10, 0.2))
    assert run.steps() == ["0", "5", "10"]
    assert run.table.read_text().splitlines()[-1] == "10,2026-11-24 12:00:00,0.2,0.25,0.44"
    assert len(run.plain.read_text().splitlines()) == 5, "the log keeps what was made twice"


def test_what_a_cut_left_half_written_is_mended_by_the_next_start(run: Run) -> None:
    run.say(line(0), line(5))
    run.table.write_text(run.table.read_text()[:-7])
    run.plain.write_text(run.plain.read_text()[:-9])
    run.start()
    run.look()
    assert run.steps() == ["0", "5"]
    assert run.plain.read_text().count("\n") == 2
    assert run.plain.read_text().endswith("0.44,\n")


def test_the_losses_outlive_a_log_that_was_removed(run: Run) -> None:
    run.say(line(0), line(5))
    run.log.rename(run.log.with_suffix(".old"))
    run.say(line(10))
    assert run.steps() == ["0", "5", "10"]
    assert run.plain.read_text().count("\n") == 1
    run.start()
    run.look()
    assert run.steps() == ["0", "5", "10"]


def test_a_log_that_shrank_is_read_anew(run: Run) -> None:
    run.say(line(0), line(5))
    run.log.write_text(line(0, 0.9))
    run.look()
    assert run.steps() == ["0"]
    assert run.plain.read_text().count("\n") == 1


def test_it_looks_once_a_second_and_at_the_end(run: Run) -> None:
    run.say(line(0))
    with run.log.open("a") as out:
        out.write(line(5))
    run.follower.look(run.now + 0.5)
    assert run.steps() == ["0"]
    run.follower.look(run.now + 0.6, at_once=True)
    assert run.steps() == ["0", "5"]


def test_a_log_of_many_blocks_is_read_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "BLOCK", 100)
    run.say(*(line(step) for step in range(500)))
    assert run.steps() == [str(step) for step in range(500)]
    assert run.plain.read_text().count("\n") == 500


def test_a_full_disk_costs_the_two_files_and_raises_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write", full)
    run.say(line(0))
    assert "No space" in run.follower.lost
    run.say(line(5))


def test_a_link_in_the_place_of_the_log_is_not_followed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    os.symlink(tmp_path / "secret", run.log)
    run.look()
    assert not run.plain.exists()
