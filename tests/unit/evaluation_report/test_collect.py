"""What is brought of a host: only what changed, in our own writing, gone on from where it was cut."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import offer as offers
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.offer import Offer, Piece
from ansible_collections.canvas.fleet.plugins.module_utils.system import files
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report import collect, packages, summary
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report.collect import Folder
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report.pictures import Budget

from tests.unit.support import evaluations


class Host:
    """A host whose evaluation is a folder here. `left`: calls until the connection is lost."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root / "evaluation", root / "home"
        evaluations.write(self.root, 3, {"base": 0.3, "0000040": 0.9})
        self.asked: list[Piece] = []
        self.left = 1_000
        self.lines: list[str] = []

    def offer(self) -> Offer:
        return offers.checked(offers.offer(str(self.root), str(self.root.parent)))

    def ask(self, pieces: list[Piece]) -> Sequence[str]:
        self.left -= 1
        if self.left < 0:
            raise FleetError("no connection")
        self.asked += pieces
        return offers.read(str(self.root), str(self.root.parent), pieces)

    def bring(self, offer: Offer | None = None) -> Folder:
        self.asked = []
        found = Folder(str(self.home), self.lines.append, time)
        found.bring(found.lacking(offer or self.offer()), self.ask)
        return found

    def here(self) -> dict[str, bytes]:
        paths = [path for path in self.home.rglob("*") if path.is_file() and path.name not in (".lock", collect.RECORD)]
        return {str(path.relative_to(self.home)): path.read_bytes() for path in paths}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_all_comes_once(host: Host) -> None:
    host.bring()
    assert set(host.here()) == {one.name for one in host.offer().files}
    assert len(summary.collected(str(host.home)).questions) == 3
    host.bring()
    assert host.asked == []


def test_only_what_changed_comes_again(host: Host) -> None:
    host.bring()
    path = host.root / "base/loss/rows.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[0].replace('"row": 0', '"row": 7') + "\n")
    host.bring()
    assert {one.name for one in host.asked} == {"base/loss/rows.jsonl"}
    (host.home / "losses.csv").unlink()
    host.bring()
    assert {one.name for one in host.asked} == {"losses.csv"}


def test_what_was_cut_goes_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "PIECE", 4096)
    monkeypatch.setattr(offers, "CALL", 8192)
    whole = sum(one.size for one in host.offer().files)
    host.left = 10
    with pytest.raises(FleetError, match="no connection"):
        host.bring()
    first = sum(piece.size for piece in host.asked)
    assert 0 < first < whole
    host.left = 1_000
    host.bring()
    assert sum(piece.size for piece in host.asked) == whole - first
    assert set(host.here()) == {one.name for one in host.offer().files}


def test_other_content_than_was_announced_is_refused_and_fetched_anew(host: Host) -> None:
    offer = host.offer()
    path = host.root / "base/loss/rows.jsonl"
    before = path.read_text()
    path.write_text(before.replace("1", "2"))
    with pytest.raises(FleetError, match="not what the host announced"):
        host.bring(offer)
    path.write_text(before)
    host.bring(offer)
    assert set(host.here()) == {one.name for one in offer.files}


def test_a_host_that_sends_less_or_more_is_refused(host: Host) -> None:
    found = Folder(str(host.home), host.lines.append, time)
    for texts in ([], ["eA=="], ["????"]):
        with pytest.raises(FleetError):
            found.bring(found.lacking(host.offer())[:1], lambda pieces, texts=texts: texts)


def test_a_second_one_waits_for_no_lock(host: Host) -> None:
    host.home.mkdir()
    with files.locked(host.home / collect.LOCK), pytest.raises(FleetError, match="another report"):
        host.bring()


def test_what_is_no_picture_is_named_and_left_empty(host: Host) -> None:
    (host.root / "rows/pictures/00000-q1.png").write_bytes(b"<svg onload=alert(1)>")
    found = host.bring()
    assert [one.split(":")[0] for one in found.bad] == ["rows/pictures/00000-q1.png"]
    assert host.here()["rows/pictures/00000-q1.png"] == b""
    host.bring()
    assert host.asked == []


ABOUT = json.dumps({**evaluations.about("base", "loss", 3).__dict__, "more": 1})
HOSTILE = {
    "base/loss/about.json": [ABOUT.encode(), b"\x1b[31m", b'{"schema": NaN}', b"[" * 99_999],
    "base/answers/rows.jsonl": [b"\x1b]0;title\x07\n{}\n", b'{"row": 1e999}', b"\0" * 1000],
    "rows/about.json": [b"[]", b'{"schema": "1"}'],
    "losses.csv": [b"step,time,ce,steps_per_second\n1,\x1b[31m\xe2\x80\xae,=cmd(),1\n2,x,0.5,1\n", b"\x1b[2J"],
}


CASES = [
    pytest.param(name, data, id=f"{name} {number}") for name in HOSTILE for number, data in enumerate(HOSTILE[name])
]


@pytest.mark.parametrize(("name", "data"), CASES)
def test_nothing_of_another_form_lies_here(name: str, data: bytes) -> None:
    found = collect.written_anew(name, data, Budget())
    assert all(byte == 10 or 32 <= byte < 127 for byte in found)
    assert b"cmd()" not in found
    assert b"more" not in found
    assert bool(found) == (data.startswith((b'{"schema": 1,', b"step")) or name == "losses.csv")


@pytest.mark.parametrize("lacking", [["scipy"], ["scipy", "PIL"]])
def test_a_controller_without_packages_is_told_which(lacking: list[str]) -> None:
    with pytest.raises(FleetError) as refused:
        packages.require(lambda name: None if name in lacking else name)
    assert refused.value.code == "CONTROLLER_PACKAGE_MISSING"
    assert ("scipy" in refused.value.found, "pillow" in refused.value.found) == (True, "PIL" in lacking)


def test_this_controller_has_all_of_them() -> None:
    packages.require()
    lines = (Path(__file__).parents[3] / "requirements.txt").read_text()
    pinned = {line.partition("==")[0] for line in lines.splitlines()}
    assert set(packages.NEEDED.values()) - {"numpy"} <= pinned, "numpy comes with scipy"


def test_a_file_of_empty_lines_costs_little() -> None:
    begun = time.process_time()
    assert collect.written_anew("base/loss/rows.jsonl", b"\n" * (16 << 20), Budget()) == b""
    assert collect.written_anew("base/loss/rows.jsonl", b"{}\n" * (1 << 20), Budget()) == b""
    assert time.process_time() - begun < 10
