# SPDX-License-Identifier: Apache-2.0
"""Servers as users write them, and the host keys that they show. A server's answer is data."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
import socket
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from ..module_utils.core.errors import FleetError
from ..module_utils.findings.finding import Finding, finding
from ..module_utils.plan.rules import HOST
from ..module_utils.system import digests, programs

SECONDS = 10  # for a server's keys
MOST = 16  # keys of one server
EXPECTED = "ubuntu@203.0.113.10, root@[2001:db8::1]:2222, or: ssh -p 2222 root@gpu.example.org"
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")
PLACE = re.compile(r"(?:(?P<user>.+)@)?(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:@]+))(?::(?P<port>\d+))?")
KEY = re.compile(r"(?P<kind>(?:ssh|ecdsa|sk)-[a-z0-9@.-]{1,60}) (?P<key>[A-Za-z0-9+/]{20,8192}={0,2})")
ORDER = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")


@dataclass(frozen=True)
class Server:
    """A server as ssh reaches it. `user` and `key` are empty where ssh's own default serves."""

    address: str
    port: int = 22
    user: str = ""
    key: str = ""

    @property
    def place(self) -> str:
        """Its name in known_hosts."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"


@dataclass(frozen=True)
class HostKey:
    """A public key, such as ssh-ed25519 and its text in base64."""

    kind: str
    text: str

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen -l shows it."""
        digest = bytes.fromhex(digests.sha256(base64.b64decode(self.text)))
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class _Words(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _ssh() -> _Words:
    """What a provider's page writes after `ssh`; more options belong into ansible_ssh_common_args."""
    words = _Words(add_help=False, allow_abbrev=False)
    words.add_argument("-p", type=int, dest="port")
    words.add_argument("-i", default="", dest="key")
    words.add_argument("-l", default="", dest="user")
    words.add_argument("place")
    return words


def parse(text: str) -> list[Server]:
    """The servers of a text, separated by commas. Raises FleetError that names the one that is none."""
    found: list[Server] = []
    for one in filter(None, (part.strip() for part in re.split(r"[,\n]", text))):
        try:
            made = _server(one)
        except ValueError as error:
            raise _invalid(one, str(error)) from error
        if made.place in (other.place for other in found):
            raise _invalid(one, "the same address and port twice")
        found.append(made)
    if not found:
        raise _invalid("", "no server")
    return found


def _server(text: str) -> Server:
    words = shlex.split(text.removeprefix("ssh://"))
    given = _ssh().parse_args(words[words[:1] == ["ssh"] :])
    colons = given.place.rpartition("@")[2].count(":")
    place = PLACE.fullmatch(
        re.sub(r"([^@]+)$", r"[\1]", given.place) if colons > 1 and "[" not in given.place else given.place
    )
    if not place:
        raise ValueError("no address")
    port = int(place["port"] or given.port or 22)
    made = Server(place["v6"] or place["name"], port, given.user or place["user"] or "", given.key)
    if not HOST.fits(made.address):
        raise ValueError(f"{made.address} is not {HOST.expected}")
    if not 0 < made.port < 65536:
        raise ValueError(f"{made.port} is no port")
    if made.user and not USER.fullmatch(made.user):
        raise ValueError(f"{made.user} is no user")
    return made


def _invalid(text: str, why: str) -> FleetError:
    found = finding("VARIABLE_INVALID", variable="init_servers", found=f"{text or 'nothing'}: {why}", expected=EXPECTED)
    return FleetError.of(replace(found, remedy="give the servers as you give them to ssh, separated by commas"))


def keys(server: Server) -> list[HostKey]:
    """The host keys that the server shows, the best one first. Raises FleetError where it shows none."""
    _reach(server)
    asked = ("ssh-keyscan", "-T", str(SECONDS), "-p", str(server.port), server.address)
    try:
        done = programs.run(*asked, timeout=3 * SECONDS)
    except TimeoutError as error:
        raise _silent("SSH_TIMEOUT", server, str(error)) from error
    found = dict.fromkeys(_keys(done.out.splitlines()[: 4 * MOST]))
    if not found:
        if done.code == programs.NOT_FOUND:
            raise FleetError("ssh-keyscan is missing", found=done.err, remedy="install openssh-client on this machine")
        raise _silent("SSH_CLOSED", server, "no host key")
    return sorted(found, key=lambda key: ORDER.index(key.kind) if key.kind in ORDER else len(ORDER))[:MOST]


def _reach(server: Server) -> None:
    """ssh-keyscan does not say why nothing came."""
    try:
        socket.create_connection((server.address, server.port), SECONDS).close()
    except OSError as error:
        kinds = {
            "SSH_NAME_UNKNOWN": socket.gaierror,
            "SSH_REFUSED": ConnectionRefusedError,
            "SSH_TIMEOUT": TimeoutError,
        }
        code = next((code for code, kind in kinds.items() if isinstance(error, kind)), "HOST_UNREACHABLE")
        raise _silent(code, server, error.strerror or str(error)) from error


def _silent(code: str, server: Server, why: str) -> FleetError:
    found = f"{server.place}: {why}"
    return FleetError.of(
        finding(code, variable="init_servers", found=found, expected="an SSH server with its host keys")
    )


def _keys(lines: Iterable[str]) -> Iterator[HostKey]:
    for line in lines:
        if known := KEY.fullmatch(line.partition(" ")[2].strip()):
            try:
                blob = base64.b64decode(known["key"], validate=True)
            except binascii.Error:
                continue
            if known["kind"].encode() in blob[:80]:
                yield HostKey(known["kind"], known["key"])


def known_hosts(servers: Mapping[Server, Iterable[HostKey]]) -> str:
    """The lines by which ssh knows these servers."""
    return "".join(f"{server.place} {key.kind} {key.text}\n" for server, found in servers.items() for key in found)


def confirmed(shown: Mapping[Server, list[HostKey]], given: str) -> dict[Server, list[HostKey]]:
    """The keys with the fingerprints in `given` (or all of them, by the word all).

    Raises FleetError for a server that shows none of them.
    """
    if given == "all":
        return dict(shown)
    wanted = set(re.findall(r"SHA256:[A-Za-z0-9+/]{43}", given))
    chosen = {server: [key for key in found if key.fingerprint in wanted] for server, found in shown.items()}
    for server, found in chosen.items():
        if not found:
            raise FleetError.of(unconfirmed(f"{server.place}: {', '.join(key.fingerprint for key in shown[server])}"))
    return chosen


def unconfirmed(found: str) -> Finding:
    return finding(
        "HOST_KEY_UNCONFIRMED", variable="init_fingerprints", found=found, expected="your yes, or their fingerprints"
    )


def shared(values: Iterable[Any]) -> Any:
    """The value that all have in common; an empty text if they differ."""
    different = list(dict.fromkeys(values))
    return different[0] if len(different) == 1 else ""
