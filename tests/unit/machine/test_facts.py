"""Disks and folders as a host has them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.machine import facts


def test_a_checkpoint_with_two_names_takes_its_room_once_and_what_lies_aside_none(tmp_path: Path) -> None:
    saved, kept = tmp_path / "out/checkpoints/0000020", tmp_path / "out/kept"
    for folder in (saved, kept / "0000020", kept / "aside"):
        folder.mkdir(parents=True)
    for name, size in (("model.safetensors", 1000), ("optimizer.00000-of-00001.pt", 400)):
        (saved / name).write_bytes(b"x" * size)
        os.link(saved / name, kept / "0000020" / name)
    (saved / "optimizer.00000-of-00001.pt").unlink()  # as the trainer does; the link keeps it
    (kept / "aside/model.safetensors").write_bytes(b"x" * 5000)
    told = {"training_results_dir": str(tmp_path / "out"), "training_checkpoint_dir": str(saved.parent)}
    assert facts.checkpoints_bytes(told) == 1400
    assert facts.checkpoints_bytes({}) == 0


def test_a_folder_behind_a_link_to_a_disk_that_is_not_mounted_lies_where_the_link_does(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to("/nowhere/there")
    assert facts.disk(str(tmp_path / "models/BAGEL")).at == str(tmp_path)


def test_memory_is_read_in_bytes_and_other_lines_are_left_out() -> None:
    text = "MemTotal:       16384 kB\nHugePages_Total:       3\nDirectMap4k: none\n\n"
    assert facts.meminfo(text) == {"MemTotal": 16384 * 1024, "HugePages_Total": 3}


@pytest.mark.skipif(not os.path.exists("/proc/sys/kernel/random/boot_id"), reason="no Linux")
def test_a_host_is_known_by_its_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses to read a file of /proc/sys into as much room as other files get."""
    read = facts._read
    monkeypatch.setattr(facts, "_read", lambda path: "0" * 32 if path == "/etc/machine-id" else read(path))
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert facts.identity() == f"{'0' * 32}:{boot}:{socket.gethostname()}"


@pytest.mark.parametrize(
    ("said", "version"), [("systemd 252 (252.39-1~deb12u1)\n+PAM", "252"), ("systemd", ""), ("", "")]
)
def test_the_version_of_systemd_is_what_its_tool_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, version: str
) -> None:
    tool = tmp_path / "systemctl"
    tool.write_text(f"#!/bin/sh\ncat <<'end'\n{said}\nend\n")
    tool.chmod(0o755)
    monkeypatch.setattr(facts.units, "PATH", str(tmp_path))
    real = os.path.isdir
    monkeypatch.setattr(os.path, "isdir", lambda path: path == "/run/systemd/system" or real(path))
    found = facts.init_system()
    assert (found.name, found.version) == ("systemd", version)
