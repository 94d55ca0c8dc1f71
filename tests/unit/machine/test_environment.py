"""What a training meets on a host, read from a made-up root and from this machine's own sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.machine import environment

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:733D 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:733D 00000000000000000000000000000000:0000 0A 00000000:00000000 00:0 0 0 0 3
"""


def test_ports_that_are_listened_on_are_read_of_both_families_and_others_not(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/tcp").write_text(TCP)
    assert environment.listening(str(tmp_path)) == [22]
    (tmp_path / "proc/net/tcp6").write_text(TCP6)
    assert environment.listening(str(tmp_path)) == [22, 29501]


def test_a_machine_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    found = environment.observe({"conda_env_prefix": str(tmp_path / "no")}, str(tmp_path))
    assert found == environment.Environment()
    assert environment.listening(str(tmp_path)) == []


def program(path: Path) -> str:
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_the_environments_compiler_comes_before_the_systems(tmp_path: Path) -> None:
    system = program(tmp_path / "usr/bin/gcc")
    assert environment.compiler(str(tmp_path / "env"), str(tmp_path)) == system
    own = program(tmp_path / "env/bin/gcc")
    assert environment.compiler(str(tmp_path / "env"), str(tmp_path)) == own


def test_headers_are_of_the_environment(tmp_path: Path) -> None:
    assert environment.headers(str(tmp_path / "env")) is None
    (tmp_path / "env/include/python3.10").mkdir(parents=True)
    assert environment.headers(str(tmp_path / "env")) is False
    (tmp_path / "env/include/python3.10/Python.h").write_text("")
    assert environment.headers(str(tmp_path / "env")) is True


def test_a_virtual_environment_has_the_headers_of_its_base(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env/pyvenv.cfg").write_text(f"home = {tmp_path}/base/bin\nversion = 3.12.3\n")
    assert environment.headers(str(tmp_path / "env")) is False
    (tmp_path / "base/include/python3.12").mkdir(parents=True)
    (tmp_path / "base/include/python3.12/Python.h").write_text("")
    assert environment.headers(str(tmp_path / "env")) is True


def test_a_host_is_seen_with_its_environment_in_place(tmp_path: Path) -> None:
    own = program(tmp_path / "env/bin/cc")
    (tmp_path / "env/include/python3.10").mkdir(parents=True)
    found = environment.observe({"conda_env_prefix": str(tmp_path / "env")}, str(tmp_path))
    assert (found.compiler, found.headers) == (own, False)
    bare = environment.observe({}, str(tmp_path))
    assert (bare.compiler, bare.headers) == ("", None)


def test_a_folder_that_does_not_exist_yet_is_judged_by_where_it_would_lie(tmp_path: Path) -> None:
    assert environment.mount(str(tmp_path / "a/b/c")) == environment.mount(str(tmp_path))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        pytest.param(os.ST_NOEXEC, environment.Mount(noexec=True), id="noexec"),
        pytest.param(os.ST_RDONLY | os.ST_NOSUID, environment.Mount(read_only=True), id="read-only"),
    ],
)
def test_mount_options(monkeypatch: pytest.MonkeyPatch, flags: int, told: environment.Mount) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=flags))
    assert environment.mount("/srv") == told


def test_a_listener_and_a_refusal_are_both_answers() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert environment.reach("127.0.0.1", port) == "", "bound and not listening: refused"
        server.listen()
        assert environment.reach("127.0.0.1", port) == ""


def test_the_first_host_looks_at_its_ports_and_the_others_for_the_first() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert port in environment.before_start({})["listening"]
        assert environment.before_start({"address": "127.0.0.1", "port": port}) == {"master": ""}


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        pytest.param(TimeoutError(), "no answer within", id="dropped by a firewall"),
        pytest.param(OSError(113, "No route to host"), "No route to host", id="no way there"),
        pytest.param(socket.gaierror(-2, "Name or service not known"), "cannot be resolved", id="an unknown name"),
        pytest.param(ConnectionResetError(104, "reset"), "", id="a reset is an answer"),
    ],
)
def test_what_is_no_answer(monkeypatch: pytest.MonkeyPatch, failure: OSError, words: str) -> None:
    def connect(address: tuple[str, int], timeout: float) -> None:
        raise failure

    monkeypatch.setattr(socket, "create_connection", connect)
    told = environment.reach("10.0.0.1", 29501)
    assert bool(told) == bool(words)
    assert words in told
