"""A look at a host, with whatever lies at the paths that it reads."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.machine import mounts
from ansible_collections.canvas.fleet.plugins.module_utils.system import folders, limits, parts
from ansible_collections.canvas.fleet.plugins.modules import host_info

from tests.fuzz import fleet
from tests.unit.support.places import ROOT
from tests.unit.support.provisioned import Host

LOOKS = {**host_info.AROUND, **host_info.OBSERVERS}
opened: list[str] | None = None


def _heard(event: str, words: tuple[Any, ...]) -> None:
    if opened is not None and event in ("open", "os.listdir", "os.scandir") and isinstance(words[0], (str, bytes)):
        opened.append(os.fsdecode(words[0]))


sys.addaudithook(_heard)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """One that all roles worked on, with a unit and an environment besides."""
    made = Host(tmp_path, monkeypatch)
    told, wrong = fleet.settings(fleet.Host("a", {"fleet_root": str(made.fleet)}))
    assert wrong == []
    made.settings = {**told, **made.settings, "conda_env_prefix": f"{made.fleet}/env", "run_config_use_flex": True}
    made.settings["training_unit_dir"] = str(tmp_path / "units")
    made.write(made.fleet / "env/.canvas-fleet.json", "{}")
    made.write(made.fleet / "env/pyvenv.cfg", "home = /usr/bin")
    return made


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    def late(*_: Any) -> None:
        raise KeyboardInterrupt(f"it takes longer than {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(path.parent, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


def sparse(path: Path) -> None:
    with path.open("wb") as out:
        out.truncate(1 << 40)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a socket": listen,
    "a device": device,
    "a folder": Path.mkdir,
    "a terabyte": sparse,
    "a file of the kernel without an end": lambda path: path.symlink_to("/proc/kmsg"),
    "a link to itself": lambda path: path.symlink_to(path),
}


def files_read(host: Host, look: Callable[[dict[str, Any]], Any]) -> list[Path]:
    """The files of the host that a look may open: all that lie in folders whose names it knows."""
    global opened
    opened = []
    look(host.settings)
    names, opened = set(opened), None
    names = {path.name for path in map(Path, names)}
    return sorted(
        path for path in host.root.rglob("*") if path.name in names and path.is_file() and ".git" not in path.parts
    )


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_files_is_read(host: Host, kind: str) -> None:
    tried = 0
    for _name, look in LOOKS.items():
        for path in files_read(host, look):
            aside = host.root / "aside"
            path.rename(aside)
            KINDS[kind](path)
            with at_most(2.0):
                look(host.settings)
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
            aside.rename(path)
            tried += 1
    assert tried > 20


def look_at(host: Host, monkeypatch: pytest.MonkeyPatch, **seconds: float) -> dict[str, Any]:
    """The whole look; `seconds` by part, 20 for the others."""
    own = {name: {"seconds": seconds.get(name, 20.0)} for name in LOOKS}
    monkeypatch.setattr(host_info, "OWN_LIMITS", own)
    monkeypatch.setattr(parts, "GRACE", 0.5)
    return host_info.observe(host.settings, {})


def test_a_look_is_whole_and_says_of_nothing_that_it_is_silent(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = look_at(host, monkeypatch)
    assert seen["silent"] == {}
    assert set(seen["roles"]) == set(host_info.OBSERVERS)
    assert seen["environment"]["listening"], "its training would be started"
    assert seen["facts"]["checkpoints_bytes"] > 0


def test_git_that_waits_for_a_pipe_costs_its_own_limit_alone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Path(str(host.settings["canvas_code_checkout"])) / ".git/index"
    index.unlink()
    os.mkfifo(index)
    with at_most(10.0):
        seen = look_at(host, monkeypatch, canvas_code=1.0)
    assert set(seen["silent"]) == {"canvas_code"}
    assert "no answer within 1 s" in seen["silent"]["canvas_code"]
    assert set(seen["roles"]) == set(host_info.OBSERVERS) - {"canvas_code"}
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(index.parents[1]) in text(path)]
    assert running == [], "git ended, too"


def text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_a_folder_without_end_is_told_and_the_others_answer(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders.names, "__defaults__", (5,))
    for number in range(6):
        host.write(Path(str(host.settings["dataset_train_dir"])) / f"{number}.parquet", "")
    seen = look_at(host, monkeypatch)
    assert "more than 5 names" in seen["silent"]["dataset"]
    assert "weights" in seen["roles"]


def test_the_size_of_a_tree_without_end_is_not_counted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TREE_NAMES", 3)
    assert "more than 3 names" in look_at(host, monkeypatch)["silent"]["facts"]


def test_a_file_system_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = (
        "22 1 0:21 / / rw - ext4 /dev/sda rw\n"
        f"23 22 0:44 / {tmp_path}/a\\040b rw shared:1 - nfs4 server:/export rw\n"
        f"24 22 0:45 / {tmp_path}/other rw - nfs4 server:/other rw\n"
    )
    monkeypatch.setattr(limits, "MOUNT_SECONDS", 0.3)
    monkeypatch.setattr(parts, "GRACE", 0.3)
    real = os.statvfs
    monkeypatch.setattr(mounts.os, "statvfs", lambda path: time.sleep(30) if path in hung else real(path))
    hung = [f"{tmp_path}/a b", f"{tmp_path}/other"]
    paths = [f"{tmp_path}/a b/data", f"{tmp_path}/otherwise", "relative", "7"]
    silent = mounts.silent(paths, time.monotonic() + 20, table)
    assert list(silent) == [f"the file system {tmp_path}/a b (nfs4 from server:/export)"]
    hung = ["/"]
    assert list(mounts.silent(["/srv"], time.monotonic() + 20, table)) == ["the file system / (ext4 from /dev/sda)"]


def test_the_page_tells_every_limit() -> None:
    units = {"s": 1.0, "KiB": 1 << 10, "MiB": 1 << 20, "": 1}
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([\d,]+) ?(\w*) \|", (ROOT / "docs/design.md").read_text(), re.MULTILINE)
    told = {name: int(number.replace(",", "")) * units[unit] for name, number, unit in rows}
    assert told == {name: value for name, value in vars(limits).items() if name.isupper()}


def test_another_account_than_root_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[dict[str, Any]] = []

    def answer(**given: Any) -> None:
        answers.append(given)
        raise SystemExit

    given: dict[str, Any] = {"settings": {}, "master": {}, "controller": {}}
    module = SimpleNamespace(params=given, exit_json=answer, fail_json=answer)
    monkeypatch.setattr(host_info, "AnsibleModule", lambda **spec: module)
    monkeypatch.setattr(host_info, "observe", lambda settings, master: "seen")
    for account in (1000, 0):
        monkeypatch.setattr(os, "geteuid", lambda account=account: account)
        with pytest.raises(SystemExit):
            host_info.main()
    assert [(one.get("finding") or {}).get("code", one.get("observation")) for one in answers] == ["NOT_ROOT", "seen"]
