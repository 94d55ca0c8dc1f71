import hashlib
import subprocess

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
