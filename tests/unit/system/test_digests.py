import hashlib
import subprocess
import time

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.system import digests


def test_parts_are_one_text(tmp_path):
    assert digests.sha256("é", b"b") == hashlib.sha256("éb".encode()).hexdigest()


@pytest.mark.parametrize("cold", [False, True])
def test_a_files_digest_is_that_of_all_its_blocks(tmp_path, monkeypatch, cold):
    monkeypatch.setattr(digests, "BLOCK", 3)
    (tmp_path / "f").write_bytes(b"0123456789")
    blocks = []
    assert digests.of_file(tmp_path / "f", each=blocks.append, cold=cold) == hashlib.sha256(b"0123456789").hexdigest()
    assert blocks == [b"012", b"345", b"678", b"9"]


def test_a_digest_can_be_called_off(tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    assert digests.of_file(tmp_path / "f", stop=lambda: True) == ""


def test_git_names_a_file_the_same(tmp_path):
    (tmp_path / "f").write_bytes(b"hello\n")
    name = digests.git_blob(6)
    name.update(b"hello\n")
    told = subprocess.run(["git", "hash-object", str(tmp_path / "f")], check=True, capture_output=True, text=True)
    assert name.hexdigest() == told.stdout.strip()


def test_contents_are_told_apart_in_sixteen_bytes():
    assert digests.short(b"a", b"b") == digests.short(b"ab") != digests.short(b"ac")
    assert len(digests.short(b"")) == 16


@pytest.mark.parametrize(
    ("size", "data", "refused"),
    [
        pytest.param(2 << 30, [], True, id="nothing but a hole"),
        pytest.param(1 << 43, [0, 1 << 20, 5 << 20], True, id="some data in front"),
        pytest.param(64 << 20, [0], False, id="a small hole"),
    ],
)
def test_a_file_of_holes_is_not_read(size, data, refused, tmp_path):
    with (tmp_path / "f").open("wb") as out:
        for at in data:
            out.seek(at)
            out.write(b"x" * 4096)
        out.truncate(size)
    begun = time.monotonic()
    if refused:
        with pytest.raises(OSError, match="holes without data"):
            digests.of_file(tmp_path / "f")
    else:
        assert digests.of_file(tmp_path / "f") == hashlib.sha256((tmp_path / "f").read_bytes()).hexdigest()
    assert time.monotonic() - begun < 5


def test_what_is_appended_meanwhile_is_not_read(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 10)

    def append(block):
        with (tmp_path / "f").open("ab") as out:
            out.write(block)

    assert digests.of_file(tmp_path / "f", each=append) == hashlib.sha256(b"x" * 10).hexdigest()
