"""What a host offers of its evaluation, in pieces, and what the controller believes of it."""

from __future__ import annotations

import base64
import os
import time
from hashlib import sha256
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import offer as offers
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.offer import File, Offer, Piece

SUM = "a" * 64
NAMES = ["rows/rows.jsonl", "rows/pictures/00000-q1.png", "0000040-merged/answers/about.json",
         "base/loss/about.json", "base/loss/rows.jsonl", "losses.csv"]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "evaluation" / name if name != "losses.csv" else tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "evaluation"


def offered(folder: Path) -> Offer:
    return offers.offer(str(folder), str(folder.parent))


def test_all_that_belongs_to_an_evaluation_is_offered_and_nothing_else(folder: Path) -> None:
    for name in ("rows/pictures/../x.png", "rows/other", "base/loss/rows.jsonl.part", "rows/pictures/a.png"):
        (folder / name).write_text("x")
    (folder / "../secret").write_text("x")
    (folder / "base/loss/pictures").symlink_to("/etc")
    (folder / "rows/pictures/00001-q1.png").symlink_to("../../../secret")
    os.mkfifo(folder / "rows/pictures/00002-q1.png")
    found = offered(folder)
    assert {one.name for one in found.files} == set(NAMES)
    assert all(one.sha256 == sha256(one.name.encode()).hexdigest() for one in found.files)
    assert offers.checked(found) == found


def test_no_evaluation_is_an_empty_offer_even_where_the_run_has_losses(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text("step\n")
    assert offered(tmp_path / "evaluation") == Offer()
    with offers.acting_as_owner(str(tmp_path / "evaluation")):
        pass


def test_what_is_too_large_is_counted(folder: Path) -> None:
    with (folder / "rows/pictures/00001-q1.png").open("wb") as out:
        out.truncate(offers.PICTURE_BYTES + 1)
    found = offered(folder)
    assert (found.left_out, len(found.files)) == (1, len(NAMES))


def test_pieces_make_the_file_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "PIECE", 7)
    monkeypatch.setattr(offers, "CALL", 20)
    found = offered(folder).files
    got = {one.name: b"" for one in found}
    for call in offers.calls(found, {}):
        assert sum(piece.size for piece in call) <= 20
        texts = offers.read(str(folder), str(folder.parent), call)
        for piece, text in zip(call, texts, strict=True):
            assert piece.at == len(got[piece.name])
            got[piece.name] += offers.data_of(piece, text)
    assert got == {name: name.encode() for name in NAMES}


def test_a_piece_is_as_long_as_the_longest_text_of_an_answer() -> None:
    assert len(base64.b64encode(bytes(offers.PIECE))) == 1 << 20


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(Piece("../../etc/shadow", 0, 5), id="another file"),
        pytest.param(Piece("rows/rows.jsonl", 0, offers.PIECE + 1), id="too long"),
        pytest.param(Piece("rows/rows.jsonl", -1, 5), id="before its beginning"),
        pytest.param(Piece("rows/rows.jsonl\n", 0, 5), id="a name with a line end"),
    ],
)
def test_no_other_piece_is_given(folder: Path, piece: Piece) -> None:
    with pytest.raises(FleetError, match="no such piece"):
        offers.read(str(folder), str(folder.parent), [piece])


def test_what_is_gone_meanwhile_is_seen(folder: Path) -> None:
    piece = Piece("rows/pictures/00009-q1.png", 0, 5)
    (text,) = offers.read(str(folder), str(folder.parent), [piece])
    with pytest.raises(FleetError, match="has become shorter"):
        offers.data_of(piece, text)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param([File("../x", 1, SUM)], id="another folder"),
        pytest.param([File("rows/pictures/x.png", 1, SUM)], id="another name"),
        pytest.param([File("base/loss/about.json", (1 << 16) + 1, SUM)], id="too large"),
        pytest.param([File("base/loss/about.json", -1, SUM)], id="less than nothing"),
        pytest.param([File("base/loss/about.json", 1, "a")], id="no digest"),
        pytest.param([File("base/loss/about.json", 1, SUM)] * 2, id="twice"),
        pytest.param([File(f"rows/pictures/{n:05d}-q1.png", 16 << 20, SUM) for n in range(2049)], id="too much"),
        pytest.param([File(f"rows/pictures/{n:06d}-q1.png", 1, SUM) for n in range(60_001)], id="too many"),
    ],
)
def test_an_offer_of_anything_else_is_refused(given: list[File]) -> None:
    with pytest.raises(FleetError) as refused:
        offers.checked(Offer(tuple(given)))
    assert refused.value.code == "HOST_ANSWER_MALFORMED"


def test_many_small_files_are_asked_for_in_linear_time() -> None:
    lacking = [File(f"rows/pictures/{number:06d}-q1.png", 1, SUM) for number in range(60_000)]
    begun = time.process_time()
    assert sum(map(len, offers.calls(lacking, {}))) == 60_000
    assert time.process_time() - begun < 2
