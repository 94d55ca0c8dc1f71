"""A checkpoint counts as whole only when a start can resume from it."""

from __future__ import annotations

import json
import random
import struct
import zipfile
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import checkpoint as checkpoints
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FILES = (
    "ema.safetensors",
    "model.safetensors",
    "optimizer.00000-of-00002.pt",
    "optimizer.00001-of-00002.pt",
    "scheduler.pt",
    "data_status.pt",
)


def safetensors(sizes: dict[str, int]) -> bytes:
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, size in sizes.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def archive(path: Path, entries: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in entries.items():
            made.writestr(name, content)


def make(folder: Path, shards: int = 2) -> Path:
    folder.mkdir(parents=True)
    for name in checkpoints.MODEL_FILES:
        (folder / name).write_bytes(safetensors({"a": 300, "b": 41}))
    for index in range(shards):
        name = f"optimizer.{index:05d}-of-{shards:05d}.pt"
        archive(folder / name, {"archive/data.pkl": b"x" * 200, "archive/0": b"y"})
    for name in checkpoints.STATE_FILES:
        archive(folder / name, {"archive/data.pkl": b"{}"})
    return folder


def test_a_complete_folder_is_whole_and_tells_its_shards(tmp_path: Path) -> None:
    seen = checkpoints.examine(str(make(tmp_path / "0000020")), 20)
    assert (seen.kind, seen.flaws, seen.shards) == ("whole", (), 2)
    assert seen.size == sum(path.stat().st_size for path in (tmp_path / "0000020").iterdir())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("what", "told"), [("gone", "is missing"), ("empty", "0 bytes"), ("folder", "is not a file"), ("longer", "")]
)
def test_a_file_that_is_not_as_it_was_written_makes_it_incomplete(
    tmp_path: Path, name: str, what: str, told: str
) -> None:
    path = make(tmp_path / "0000020") / name
    content = path.read_bytes()
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what != "gone":
        path.write_bytes(b"" if what == "empty" else content + b"\0")
    seen = checkpoints.examine(str(path.parent), 20)
    assert seen.kind == "incomplete"
    assert any(flaw.startswith(name) and told in flaw for flaw in seen.flaws)


@given(name=st.sampled_from(FILES), seed=st.randoms(use_true_random=False))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_a_file_cut_anywhere_never_leaves_a_whole_checkpoint(tmp_path: Path, name: str, seed: random.Random) -> None:
    folder = tmp_path / "0000020"
    if not folder.exists():
        make(folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: seed.randrange(len(content))])
    cut = checkpoints.examine(str(folder), 20)
    (folder / name).write_bytes(content)
    assert cut.kind == "incomplete"
    assert checkpoints.examine(str(folder), 20).whole


@pytest.mark.parametrize("stop", range(len(FILES)))
def test_a_save_that_stopped_between_two_files_is_no_whole_checkpoint(tmp_path: Path, stop: int) -> None:
    folder = make(tmp_path / "0000020")
    for name in FILES[stop:]:
        (folder / name).unlink()
    seen = checkpoints.examine(str(folder), 20)
    assert not seen.whole
    # Both model files and nothing else is what the trainer itself leaves of an older one.
    assert seen.kind == ("model" if stop == 2 else "incomplete")


def test_the_middle_of_an_archive_may_not_be_missing(tmp_path: Path) -> None:
    path = make(tmp_path / "0000020") / "scheduler.pt"
    content = path.read_bytes()
    path.write_bytes(bytes(40) + content[40:])
    assert checkpoints.examine(str(path.parent), 20).flaws == ("scheduler.pt: its first entry is not there",)


@pytest.mark.parametrize("what", [b"x", b"x" * 40], ids=["a byte", "more than the end record"])
def test_nothing_may_stand_between_directory_and_end_record(tmp_path: Path, what: bytes) -> None:
    path = make(tmp_path / "0000020") / "scheduler.pt"
    content = path.read_bytes()
    path.write_bytes(content[:-22] + what + content[-22:])
    assert checkpoints.examine(str(path.parent), 20).flaws == (
        "scheduler.pt: its directory does not lie where its end record says",
    )


def test_zip64_records_are_read_and_missed(tmp_path: Path) -> None:
    path = tmp_path / "big.pt"
    plain, wide = zip64(b"archive/data.pkl", b"x" * 50)
    path.write_bytes(plain + wide)
    with path.open("rb") as source:
        assert checkpoints.zip_flaw(source, path.stat().st_size) == ""
    path.write_bytes(plain + wide[56 + 20 :])
    with path.open("rb") as source:
        assert checkpoints.zip_flaw(source, path.stat().st_size) == "its zip64 end record is missing"


def zip64(name: bytes, content: bytes) -> tuple[bytes, bytes]:
    """One stored entry with its directory, and the three end records, with every wide field used."""
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 45, 0, 0, 0, 0, 0, len(content), len(content), len(name), 0)
    body = local + name + content
    entry = struct.pack(
        "<4s6H3I5H2I", b"PK\x01\x02", 45, 45, 0, 0, 0, 0, 0, len(content), len(content), len(name), 0, 0, 0, 0, 0, 0
    )
    entry += name
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, len(entry), len(body))
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(body) + len(entry), 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return body + entry, end64 + locator + end


def test_a_header_that_declares_too_much_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with path.open("rb") as source:
        assert checkpoints.safetensors_flaw(source, 10) == "10 bytes, cut within its header"


@pytest.mark.parametrize("header", [b"[]", b"{", b'{"a": 1}', b'{"a": {"data_offsets": []}}', b"\xff\xfe"])
def test_a_header_that_is_none_is_told(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with path.open("rb") as source:
        assert checkpoints.safetensors_flaw(source, 8 + len(header)) == "its header cannot be read"


def test_the_survey_sorts_by_number_and_finds_the_newest_whole(tmp_path: Path) -> None:
    for name in ("0000020", "0000040", "100"):
        make(tmp_path / name)
    (tmp_path / "100" / "scheduler.pt").unlink()
    for path in (tmp_path / "0000020").glob("*.pt"):
        path.unlink()
    seen = checkpoints.survey(str(tmp_path))
    assert [(one.step, one.kind) for one in seen.checkpoints] == [(20, "model"), (40, "whole"), (100, "incomplete")]
    assert seen.newest is not None
    assert seen.newest.step == 100
    assert seen.newest_whole is not None
    assert seen.newest_whole.step == 40


@pytest.mark.parametrize(
    ("name", "foreign"),
    [(".ipynb_checkpoints", True), ("lost+found", True), ("0000020.bad", True), ("20", False), ("1_000", False)],
)
def test_a_folder_is_foreign_when_the_trainer_cannot_read_its_name_as_a_number(
    tmp_path: Path, name: str, foreign: bool
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "notes.txt").write_text("a file does no harm")
    assert checkpoints.survey(str(tmp_path)).foreign == ((name,) if foreign else ())


@pytest.mark.parametrize("name", [".trash", "zz"], ids=["before", "behind"])
def test_a_foreign_folder_hides_no_checkpoint(tmp_path: Path, name: str) -> None:
    for folder in (name, "0000020", "0000040"):
        make(tmp_path / folder)
    assert [one.step for one in checkpoints.survey(str(tmp_path)).checkpoints] == [20, 40]


def test_no_folder_is_an_empty_survey(tmp_path: Path) -> None:
    assert checkpoints.survey(str(tmp_path / "nothing")) == checkpoints.Survey()


def test_the_survey_crosses_to_the_controller_and_back(tmp_path: Path) -> None:
    make(tmp_path / "0000020")
    (tmp_path / "x").mkdir()
    seen = checkpoints.survey(str(tmp_path))
    assert wire.from_dict(checkpoints.Survey, json.loads(json.dumps(wire.to_dict(seen)))) == seen


def test_optimizer_files_of_two_saves_are_told(tmp_path: Path) -> None:
    folder = make(tmp_path / "0000020")
    archive(folder / "optimizer.00000-of-00004.pt", {"a": b"b"})
    assert checkpoints.examine(str(folder), 20).flaws == ("optimizer files of different saves: of 2 and of 4 shards",)
