"""Servers as users write them, and the keys that they answer with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.system import programs
from ansible_collections.canvas.fleet.plugins.plugin_utils import servers
from ansible_collections.canvas.fleet.plugins.plugin_utils.servers import HostKey, Server

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIBfIWHbxUvJeUxETC3/aR9RGHCKVcoG5ebwFve4CE6Rn"
ED25519 = HostKey("ssh-ed25519", KEY)
OTHER = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIPGA9hMnQQbqthZ41H8mXfWQOkc36u4z8/KamVOkwc02")


@pytest.mark.parametrize(
    ("text", "server"),
    [
        pytest.param("203.0.113.10", Server("203.0.113.10"), id="an address"),
        pytest.param("ubuntu@203.0.113.10", Server("203.0.113.10", user="ubuntu"), id="with a user"),
        pytest.param("root@gpu.example.org:2222", Server("gpu.example.org", 2222, "root"), id="with a port"),
        pytest.param("2001:db8::1", Server("2001:db8::1"), id="IPv6"),
        pytest.param("root@2001:db8::1", Server("2001:db8::1", user="root"), id="IPv6 with a user"),
        pytest.param("root@[2001:db8::1]:2222", Server("2001:db8::1", 2222, "root"), id="IPv6 with a port"),
        pytest.param(
            "ssh -p 35394 root@r1.example.org", Server("r1.example.org", 35394, "root"), id="a provider's line"
        ),
        pytest.param("ssh root@r1.example.org -p 35394", Server("r1.example.org", 35394, "root"), id="the port behind"),
        pytest.param("ssh -i '~/my key' -l me gpu", Server("gpu", user="me", key="~/my key"), id="key and user apart"),
        pytest.param("ssh://me@gpu:23", Server("gpu", 23, "me"), id="a URL"),
    ],
)
def test_a_server_is_understood(text: str, server: Server) -> None:
    assert servers.parse(text) == [server]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(" , ", "nothing: no server", id="none"),
        pytest.param("gpu, gpu:22", "gpu:22: the same address and port twice", id="twice"),
        pytest.param("gpu:99999", "99999 is no port", id="no port"),
        pytest.param("gpu:ssh", "no address", id="a word as a port"),
        pytest.param("-oProxyCommand=x", "the following arguments are required: place", id="an option"),
        pytest.param("ssh -oProxyCommand=x gpu", "unrecognized arguments", id="an option of ssh"),
        pytest.param("me@-oProxyCommand=x", "is not a host name", id="an address that ssh takes for an option"),
        pytest.param("-l@gpu", "-l@gpu", id="a user that ssh takes for an option"),
        pytest.param("gpu 'x", "No closing quotation", id="half a quotation"),
        pytest.param("fe80::1%eth0", "no address", id="a zone"),
    ],
)
def test_what_is_no_server_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(FleetError) as raised:
        servers.parse(text)
    assert raised.value.code == "VARIABLE_INVALID"
    assert words in raised.value.found


def test_several_servers_keep_their_order() -> None:
    assert [one.place for one in servers.parse("b, a:23,\n [::1]:24")] == ["b", "[a]:23", "[::1]:24"]


@pytest.mark.parametrize(
    "server", [Server("203.0.113.10"), Server("gpu", 2222), Server("::1"), Server("2001:db8::1", 2222)]
)
def test_ssh_finds_the_pinned_key_and_shows_the_same_fingerprint(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "known_hosts.txt"
    path.write_text(servers.known_hosts({server: [ED25519]}))
    place = server.address if server.port == 22 else f"[{server.address}]:{server.port}"
    asked = ["ssh-keygen", "-l", "-f", str(path), "-F", place]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert ED25519.fingerprint in said


def answered(monkeypatch: pytest.MonkeyPatch, out: str, code: int = 0) -> list[HostKey]:
    monkeypatch.setattr(servers, "_reach", lambda server: None)
    monkeypatch.setattr(programs, "run", lambda *argv, **how: programs.Done(code, out, "no such program"))
    return servers.keys(Server("gpu"))


def test_the_best_key_comes_first_and_what_is_no_key_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rsa = "AAAAB3NzaC1yc2EAAAADAQABAAAAAQ=="
    lines = [
        f"gpu ssh-rsa {rsa}",
        "# gpu:22 SSH-2.0",
        f"\x1b[2J ssh-ed25519 {KEY}",
        f"gpu ssh-ed25519 {KEY}",
        f"gpu ssh-dss {KEY}",
    ]
    lines += ["gpu ssh-ed25519 AAAA", f"gpu ssh-ed25519 {KEY[:-2]}!!", f"gpu {KEY}", f"evil * ssh-ed25519 {KEY}"]
    found = answered(monkeypatch, "\n".join(lines))
    assert found == [ED25519, HostKey("ssh-rsa", rsa)]
    assert servers.known_hosts({Server("gpu"): found}).splitlines()[0] == f"gpu ssh-ed25519 {KEY}"


def test_no_server_fills_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "gpu ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAA{:03}"
    assert len(answered(monkeypatch, "\n".join(map(line.format, range(900))))) == servers.MOST


@pytest.mark.parametrize(("code", "said"), [(0, "SSH_CLOSED"), (programs.NOT_FOUND, "")])
def test_a_server_without_a_key_and_a_machine_without_the_program(
    monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    with pytest.raises(FleetError) as raised:
        answered(monkeypatch, "", code)
    assert raised.value.code == said


@pytest.mark.parametrize(
    ("server", "code"), [(Server("127.0.0.1", 9), "SSH_REFUSED"), (Server("no.invalid"), "SSH_NAME_UNKNOWN")]
)
def test_why_no_key_came(server: Server, code: str) -> None:
    with pytest.raises(FleetError) as raised:
        servers.keys(server)
    assert raised.value.code == code


def test_only_keys_with_a_given_fingerprint_are_pinned() -> None:
    seen = {Server("a"): [ED25519, OTHER], Server("b"): [OTHER]}
    both = f"{ED25519.fingerprint}, {OTHER.fingerprint}"
    assert servers.confirmed(seen, "all") == servers.confirmed(seen, both) == seen
    assert servers.confirmed(seen, OTHER.fingerprint) == {Server("a"): [OTHER], Server("b"): [OTHER]}
    for given in (ED25519.fingerprint, "yes", OTHER.fingerprint[:-1]):
        with pytest.raises(FleetError) as raised:
            servers.confirmed(seen, given)
        assert raised.value.code == "HOST_KEY_UNCONFIRMED"
