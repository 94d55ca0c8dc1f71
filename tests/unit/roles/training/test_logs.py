"""New lines of log and journal: none twice, none half, and a flood only from its end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import logs
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want
from ansible_collections.canvas.fleet.plugins.module_utils.system import programs


class Host:
    """A log, and a journal that is a list."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.entries = root / "log.txt", list[str]()
        self.at, self.cursor, self.asked = logs.BEGIN, "", list[str]()
        self.want = cast("Want", SimpleNamespace(log=str(self.path), unit="canvas-training-atlas"))
        monkeypatch.setattr(logs, "read", lambda want: SimpleNamespace(phase="running"))
        monkeypatch.setattr(programs, "last", self._journalctl)

    def write(self, text: str) -> None:
        with self.path.open("a") as out:
            out.write(text)

    def news(self, lines: int = 2) -> logs.News:
        found = logs.news(self.want, self.at, self.cursor, lines)
        self.at, self.cursor = found.at, found.cursor
        return found

    def _journalctl(self, *argv: str, keep: int, timeout: float) -> programs.Done:
        self.asked = list(argv)
        count = int(argv[argv.index("-n") + 1])
        first = int(argv[argv.index("--after-cursor") + 1]) if "--after-cursor" in argv else 0
        found = self.entries[first:][-count:] if count else []
        mark = [f"-- cursor: {len(self.entries)}"] if found else []
        return programs.Done(0, "\n".join([*found, *mark]) + "\n")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_it_begins_with_the_last_lines_and_goes_on_with_each_new_one(host: Host) -> None:
    host.write("a\nb\n[\x1b[34mtime\x1b[0m] c\nhal")
    host.entries += ["j1", "j2", "j3"]
    begun = host.news()
    assert (begun.log, begun.journal, begun.phase) == (("b", "[time] c"), ("j2", "j3"), "running")
    host.write("f\nd\n")
    host.entries.append("j4")
    assert (host.news().log, host.news().log) == (("half", "d"), ())
    assert host.cursor == "4"


def test_the_journal_goes_on_after_its_mark(host: Host) -> None:
    host.entries += ["j1"]
    host.news()
    host.entries += ["j2", "j3"]
    assert host.news().journal == ("j2", "j3")
    assert host.news().journal == ()
    assert host.cursor == "3"


def test_a_log_that_is_yet_to_come_is_read_from_its_beginning(host: Host) -> None:
    assert host.news().log == ()
    host.write("a\nb\nc\n")
    assert host.news().log == ("a", "b", "c")


def test_a_log_that_was_replaced_is_read_from_its_beginning(host: Host) -> None:
    host.write("a\nb\nc\n")
    host.news()
    host.path.write_text("d\n")
    assert host.news().log == ("d",)


def test_of_a_flood_the_newest_whole_lines_come(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write("a\n")
    host.news()
    monkeypatch.setattr(logs, "BLOCK", 100)
    host.write("".join(f"line {number:03d}\n" for number in range(100)))
    found = host.news()
    assert found.log[0].startswith("line 0")
    assert (len(found.log), found.log[-1], found.skipped) == (11, "line 099", 800)


def test_no_line_at_the_beginning_is_wanted(host: Host) -> None:
    host.write("a\n")
    host.entries.append("j1")
    assert host.news(0).log == host.news(0).journal == ()
    host.write("b\n")
    assert host.news(0).log == ("b",)


def test_a_link_in_the_place_of_the_log_is_not_followed(host: Host, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    host.path.symlink_to(tmp_path / "secret")
    assert host.news().log == ()


def test_of_the_journal_no_more_is_held_than_an_answer_takes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    held = []

    def last(*argv: str, keep: int, timeout: float) -> programs.Done:
        held.append(keep)
        return programs.Done(0, "j\n-- cursor: 7\n")

    monkeypatch.setattr(programs, "last", last)
    assert (host.news().journal, host.cursor) == (("j",), "7")
    assert held == [logs.LINES * logs.LETTERS]


def test_a_journal_that_does_not_answer_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*argv: str, **more: Any) -> programs.Done:
        raise TimeoutError("journalctl did not end within 30 s")

    monkeypatch.setattr(programs, "last", late)
    assert host.news().journal == ("journalctl does not answer",)
