"""A checkpoint comes to the controller: resumed, verified, bounded, whatever the other side sends."""

from __future__ import annotations

import os
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.action import checkpoint_fetch
from ansible_collections.canvas.fleet.plugins.module_utils.system import files
from ansible_collections.canvas.fleet.plugins.plugin_utils import transfer

from tests.unit.support import actions, saves

# A stand-in for sftp: carries out `reget` from its input, in the manner that its first argument names.
SFTP = """
import os, shlex, sys, time
how, parent = sys.argv[1], os.getppid()
for order in sys.stdin.read().splitlines():
    word, remote, part = shlex.split(order)
    assert word == "reget"
    have = os.path.getsize(part)
    data = open(remote, "rb").read()[have:]
    out = open(part, "ab", buffering=0)
    if how == "cut" and not os.path.exists(remote + ".was-cut"):
        open(remote + ".was-cut", "w").close()
        out.write(data[:300])
        sys.exit("Connection closed")
    if how == "deny":
        sys.exit(f'remote open "{remote}": Permission denied \\x1b[31m')
    if how == "lost":
        sys.exit("Connection refused")
    if how == "other":
        data = b"x" * len(data)
    out.write(data)
    while how == "flood" and os.getppid() == parent:  # not longer than the tests
        out.write(b"x" * 65536)
        time.sleep(0.01)
"""
SETTINGS = {"weights_files": ["ema.safetensors", "sub/config.json"],
            "training_fetch": "ema", "training_fetch_step": -1, "training_run": "atlas", "training_kept_dir": "",
            "fleet_reconnect_timeout": 3}  # fmt: skip


class Clock(actions.Clock):
    """Really sleeps, for a program that works meanwhile."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        time.sleep(min(seconds, 0.05))


class Host:
    """A run whose files are those of a folder here."""

    def __init__(self, root: Path) -> None:
        self.results, self.home = root / "results of a run", root / "home"
        self.folder = self.results / "checkpoints/0000040"
        self.folder.mkdir(parents=True)
        self.content = bytes(range(256)) * 40
        (self.folder / "ema.safetensors").write_bytes(self.content)
        (self.results / "losses.csv").write_text("step\n40\n")
        self.sftp = root / "sftp.py"
        self.sftp.write_text(SFTP)
        self.how, self.what = "well", "ema"

    def offer(self, **change: Any) -> dict[str, Any]:
        def entry(path: Path) -> dict[str, Any]:
            data = path.read_bytes()
            return {"name": path.name, "size": len(data), "sha256": sha256(data).hexdigest()}

        made = {"step": 40, "linked": False, "sealed": True, "files": [entry(self.folder / "ema.safetensors")],
                "logs": [entry(self.results / "losses.csv")]}  # fmt: skip
        return {"changed": False, "offer": {**made, **change}}

    def fetch(self, answer: dict[str, Any] | None = None, check: bool = False, transport: str = "ssh") -> Any:
        places = {
            "training_fetch": self.what,
            "training_results_dir": str(self.results),
            "training_checkpoint_dir": f"{self.results}/checkpoints",
            "training_fetch_dir": str(self.home),
        }
        made = actions.action(checkpoint_fetch, iter([answer or self.offer()]), {**SETTINGS, **places}, check)
        made.clock = Clock()
        self.connection = made._connection
        self.connection.transport, self.connection.host = transport, "10.0.0.1"
        self.connection.get_option = lambda name: "sftp"
        self.connection._build_command = self.build
        self.lines: list[str] = []
        made.show = self.lines.append
        return actions.run(made)

    def entries(self, *names: str) -> list[dict[str, Any]]:
        for name in names:
            (self.folder / name).write_bytes(saves.content(name, 40))
        made = ((name, (self.folder / name).read_bytes()) for name in names)
        return [{"name": name, "size": len(data), "sha256": sha256(data).hexdigest()} for name, data in made]

    def build(self, program: str, subsystem: str, *more: str) -> list[bytes]:
        assert (program, subsystem, more) == ("sftp", "sftp", ("[10.0.0.1]",))
        return [word.encode() for word in (sys.executable, str(self.sftp), self.how)]

    def at_home(self) -> list[str]:
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("[!.]*") if path.is_file())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setitem(vars(transfer.constants), "DEFAULT_LOCAL_TMP", str(tmp_path))
    return Host(tmp_path)


ALL = ["atlas/0000040/SHA256SUMS", "atlas/0000040/ema.safetensors", "atlas/losses.csv"]


def test_it_comes_home_with_its_sums_and_a_second_call_changes_nothing(host: Host) -> None:
    result = host.fetch()
    assert (result["changed"], result["fetched"]) == (True, ["ema.safetensors", "losses.csv"])
    assert host.at_home() == ALL
    folder = host.home / "atlas/0000040"
    assert (folder / "ema.safetensors").read_bytes() == host.content
    assert (folder / "SHA256SUMS").read_text() == f"{sha256(host.content).hexdigest()}  ema.safetensors\n"
    assert any("ema.safetensors  10.2 kB  fetched" in line for line in host.lines)
    assert host.fetch()["changed"] is False


def test_the_reading_of_what_is_here_shows_its_progress(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.fetch()
    monkeypatch.setattr(transfer, "EVERY", 0.0)
    host.fetch()
    assert any("10.2 kB/10.2 kB" in line and "reads ema.safetensors, which is here" in line for line in host.lines)


def test_a_dry_run_brings_nothing(host: Host) -> None:
    result = host.fetch(check=True)
    assert (result["changed"], host.home.exists()) == (True, False)
    assert all("would be fetched" in line for line in host.lines[1:])
    assert "SSH alone" in host.fetch(check=True, transport="local")["msg"]


def test_a_transfer_that_was_cut_goes_on_where_it_ended(host: Host) -> None:
    host.how = "cut"
    host.fetch()
    assert (host.home / "atlas/0000040/ema.safetensors").read_bytes() == host.content


def test_what_an_earlier_call_left_is_gone_on_from_and_fetched_anew_where_it_is_wrong(host: Host) -> None:
    part = host.home / "atlas/0000040/ema.safetensors.part"
    part.parent.mkdir(parents=True)
    for left in (host.content[:5000], b"y" * 5000, b"y" * 50_000):
        part.write_bytes(left)
        host.fetch()
        assert host.at_home() == ALL
        assert (part.parent / "ema.safetensors").read_bytes() == host.content
        (part.parent / "ema.safetensors").unlink()


def test_other_content_never_gets_the_name(host: Host) -> None:
    host.how = "other"
    result = host.fetch()
    assert "not what the host announced" in result["msg"]
    assert host.at_home() == []


def test_a_host_that_sends_without_end_is_stopped(host: Host) -> None:
    host.how = "flood"
    result = host.fetch()
    assert result.get("failed") is None, "the first bytes were the announced ones"
    assert (host.home / "atlas/0000040/ema.safetensors").stat().st_size == len(host.content)


def test_a_login_that_may_not_read_is_told_what_helps(host: Host) -> None:
    host.how = "deny"
    message = host.fetch()["msg"]
    assert "fleet_readers" in message
    assert "\x1b" not in message
    assert host.at_home() == ["atlas/losses.csv.part"]


def test_a_host_that_is_lost_is_waited_for_so_long_and_no_longer(host: Host) -> None:
    host.how = "lost"
    message = host.fetch()["msg"]
    assert "it goes on from here" in message
    assert "Connection refused" in message


def test_no_room_is_found_before_anything_is_fetched(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.folders, "free", lambda path: 10_000)
    message = host.fetch()["msg"]
    assert "the controller's disk is too small" in message
    assert "10.2 kB" in message
    assert host.at_home() == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"files": [{"name": "../../x", "size": 1, "sha256": "0" * 64}]}, id="a path for a name"),
        pytest.param({"step": -5}, id="no step"),
        pytest.param({"files": [{"name": "ema.safetensors", "size": "1", "sha256": "0" * 64}]}, id="a text for a size"),
    ],
)
def test_an_offer_of_another_form_brings_nothing(host: Host, change: dict[str, Any]) -> None:
    result = host.fetch(host.offer(**change))
    assert result["failed"]
    assert "HOST_ANSWER_MALFORMED" in result["msg"]
    assert not host.home.exists()


def test_a_merged_model_comes_home_as_a_folder_of_its_own_with_its_record_last(host: Host) -> None:
    names = ("ema.safetensors", "sub/config.json", "MERGED.json")
    made = host.results / "models/0000040"
    (made / "sub").mkdir(parents=True)
    for name in names:
        (made / name).write_text(f"{name} of the merge")
    files = [
        {"name": name, "size": len(data), "sha256": sha256(data).hexdigest()}
        for name, data in ((name, (made / name).read_bytes()) for name in names)
    ]
    answer, home = host.offer(files=files, merged=True, sealed=False, logs=[]), "atlas/models/0000040"
    (host.home / home).mkdir(parents=True)
    (host.home / home / "MERGED.json").write_text("of another merge")
    (host.home / home / "sub").mkdir()
    host.how = "other"
    assert "not what the host announced" in host.fetch(answer)["msg"]
    assert host.at_home() == [], "the record of another merge stands beside no half of this one"
    host.how = "well"
    assert host.fetch(answer)["fetched"] == list(names)
    assert host.at_home() == sorted(f"{home}/{name}" for name in (*names, "SHA256SUMS"))
    assert host.fetch(answer)["changed"] is False


def test_an_export_comes_home_with_the_sums_that_it_has_on_the_host(host: Host) -> None:
    host.what = "export"
    names = ("ema.safetensors", "sub/config.json", "README.md", "EXPORTED.json")
    made, home = host.results / "exports/0000040-ema", "atlas/exports/0000040-ema"
    (made / "sub").mkdir(parents=True)
    for name in names:
        (made / name).write_text(f"{name} of the export")
    sums = {name: sha256((made / name).read_bytes()).hexdigest() for name in names}
    files = [{"name": name, "size": (made / name).stat().st_size, "sha256": sums[name]} for name in names]
    answer = host.offer(files=files, export="0000040-ema", sealed=False, logs=[])
    host.how = "cut"
    result = host.fetch(answer)
    assert (result["fetched"], result["folder"]) == (list(names), str(host.home / home))
    assert host.at_home() == sorted(f"{home}/{name}" for name in (*names, "SHA256SUMS"))
    on_host = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    assert (host.home / home / "SHA256SUMS").read_text() == on_host
    (made / "README.md").write_text("x" * (made / "README.md").stat().st_size)
    (host.home / home / "README.md").unlink()
    assert "not what the host announced" in host.fetch(answer)["msg"]


@pytest.mark.parametrize(("lacking", "failed"), [((), False), (("scheduler.pt",), True)])
def test_a_checkpoint_that_came_has_to_be_whole(host: Host, lacking: tuple[str, ...], failed: bool) -> None:
    host.what = "checkpoint"
    names = [name for name in saves.FILES if name not in lacking]
    result = host.fetch(host.offer(files=host.entries(*names)))
    assert result.get("failed", False) is failed
    assert ("scheduler.pt is missing" in result.get("msg", "")) is failed
    assert host.fetch(host.offer(files=host.entries(*names))).get("failed", False) is failed, "also what is here"


def test_the_sums_keep_what_earlier_calls_brought(host: Host) -> None:
    host.fetch()
    host.what = "model"
    host.fetch(host.offer(files=host.entries("model.safetensors")))
    sums = host.home / "atlas/0000040/SHA256SUMS"
    assert [line.split()[1] for line in sums.read_text().splitlines()] == ["ema.safetensors", "model.safetensors"]
    (sums.parent / "ema.safetensors").unlink()
    sums.write_text(sums.read_text() + "no line\n")
    assert host.fetch(host.offer(files=host.entries("model.safetensors")))["changed"]
    assert [line.split()[1] for line in sums.read_text().splitlines()] == ["model.safetensors"]


def test_two_fetches_of_a_run_do_not_write_the_same_part(host: Host) -> None:
    host.fetch()
    with files.locked(host.home / "atlas/.lock"):
        assert "another fetch of this run" in host.fetch()["msg"]


@pytest.mark.parametrize("now", ["step\n", "step\n41\n"], ids=["shorter", "another"])
def test_a_log_that_was_replaced_costs_no_model(host: Host, now: str) -> None:
    answer = host.offer()
    (host.results / "losses.csv").write_text(now)
    result = host.fetch(answer)
    assert (result["fetched"], result.get("failed")) == (["ema.safetensors"], None)
    assert any("losses.csv" in line and "replaced meanwhile" in line for line in host.lines)
    host.what = "logs"
    assert host.fetch({"offer": {"logs": answer["offer"]["logs"]}})["failed"]


def test_a_log_that_is_too_long_is_named(host: Host) -> None:
    host.fetch(host.offer(left_out=["log.txt"]))
    assert any("log.txt has more than 268" in line for line in host.lines)


def test_what_comes_has_the_modes_of_the_users_umask(host: Host) -> None:
    before = os.umask(0o027)
    try:
        host.fetch()
    finally:
        os.umask(before)
    assert (host.home / "atlas/0000040/ema.safetensors").stat().st_mode & 0o777 == 0o640
    assert (host.home / "atlas").stat().st_mode & 0o777 == 0o750


def test_a_link_at_home_is_replaced_and_not_followed(host: Host, tmp_path: Path) -> None:
    folder = host.home / "atlas/0000040"
    folder.mkdir(parents=True)
    mine = tmp_path / "mine"
    mine.write_text("mine")
    os.symlink(mine, folder / "ema.safetensors")
    host.fetch()
    assert mine.read_text() == "mine"
    assert not (folder / "ema.safetensors").is_symlink()


def test_another_node_than_the_first_and_another_connection_than_ssh_bring_nothing(host: Host) -> None:
    made = actions.action(checkpoint_fetch, iter(()), SETTINGS)
    plan = {"topology": {**actions.TOPOLOGY, "node_rank": 1}}
    assert actions.run(made, preflight_plan=plan)["skipped"]
    assert "SSH alone" in host.fetch(transport="local")["msg"]
    assert not host.home.exists()
