"""The hosts of the embedded fleet: `up` mends whatever an interrupt left; checkouts keep apart."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import hosts, image, podman

SUBNET = ipaddress.IPv4Network("10.201.7.0/24")


class CutError(Exception):
    """Like Ctrl-C."""


class FakePodman:
    """Containers as podman keeps them, and a cut before the n-th call that changes something."""

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.calls_left = -1

    def podman(self, *words: str, **_: Any) -> subprocess.CompletedProcess[str]:
        if self.calls_left == 0:
            raise CutError
        self.calls_left -= 1
        {"create": self.create, "cp": self.cp, "start": self.start, "rm": self.rm, "network": self.network}[words[0]](
            *words[1:]
        )
        return subprocess.CompletedProcess(words, 0, "", "")

    def create(self, *words: str) -> None:
        after = dict(pairwise(words))
        labels = dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "--label")
        assert after["--name"] not in self.containers, "podman refuses a name twice"
        self.containers[after["--name"]] = {
            "labels": labels,
            "status": "created",
            "files": set(),
            "on_network": True,
            "image": words[-1],
        }

    def cp(self, _source: str, target: str) -> None:
        name, path = target.split(":")
        self.containers[name]["files"].add(path)

    def start(self, name: str) -> None:
        self.containers[name]["status"] = "running"

    def rm(self, *words: str) -> None:
        for name in [word for word in words if word.startswith("canvas-")]:
            del self.containers[name]

    def network(self, verb: str, *words: str) -> None:
        if verb in ("connect", "disconnect"):
            self.containers[words[-1]]["on_network"] = verb == "connect"

    def query(self, *words: str) -> Any:
        if words[0] == "ps":
            return [
                {"Names": [name], "Labels": each["labels"], "State": each["status"]}
                for name, each in self.containers.items()
            ]
        each = self.containers.get(words[-1])
        if each is None:
            return None
        networks = {hosts.NETWORK: {}} if each["on_network"] else None
        return [
            {
                "Config": {"Labels": each["labels"]},
                "State": {"Status": each["status"]},
                "NetworkSettings": {"Networks": networks},
            }
        ]

    def whole(self, name: str) -> bool:
        each = self.containers[name]
        return each["status"] == "running" and each["on_network"] and len(each["files"]) == 3


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePodman:
    made = FakePodman()
    monkeypatch.setattr(hosts, "podman", made.podman)
    monkeypatch.setattr(hosts, "query", made.query)
    monkeypatch.setattr(hosts, "ensure_network", lambda: SUBNET)
    monkeypatch.setattr(hosts, "STATE", tmp_path)
    monkeypatch.setattr(hosts.image, "ensure", lambda kind: f"image-{kind}")
    monkeypatch.setattr(hosts, "_wait", lambda *_: None)
    return made


@pytest.fixture
def group(tmp_path: Path) -> hosts.Group:
    return hosts.Group(tmp_path / "hosts", "demo")


@pytest.mark.parametrize("calls", range(12))
def test_an_up_that_is_cut_anywhere_is_mended_by_the_next(fake: FakePodman, group: hosts.Group, calls: int) -> None:
    fake.calls_left = calls
    with suppress(CutError):  # ten calls make two hosts; beyond them nothing is cut
        hosts.up(group, ["a", "b"])
    fake.calls_left = -1
    addresses = hosts.up(group, ["a", "b"])
    assert all(fake.whole(group.container(name)) for name in "ab")
    assert group.known_hosts.read_text().splitlines() == [
        " ".join([addresses[name], *Path(f"{group.host_key(name)}.pub").read_text().split()[:2]]) for name in "ab"
    ]


def _stopped(fake: FakePodman, group: hosts.Group) -> None:
    fake.containers[group.container("a")]["status"] = "exited"


def _off_the_network(fake: FakePodman, group: hosts.Group) -> None:
    hosts.cut(group, "a")


def _removed(fake: FakePodman, group: hosts.Group) -> None:
    del fake.containers[group.container("a")]


def _key_lost(fake: FakePodman, group: hosts.Group) -> None:
    group.host_key("a").unlink()


def _client_key_lost(fake: FakePodman, group: hosts.Group) -> None:
    group.client_key.unlink()


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(_stopped, id="a stopped host is started"),
        pytest.param(_off_the_network, id="a host that was cut off is put back"),
        pytest.param(_removed, id="a lost container is made again"),
        pytest.param(_key_lost, id="a lost host key is made again, and its container with it"),
        pytest.param(_client_key_lost, id="a lost client key is made again, and the containers that held it"),
    ],
)
def test_up_mends(fake: FakePodman, group: hosts.Group, harm: Callable[[FakePodman, hosts.Group], None]) -> None:
    hosts.up(group, ["a"])
    harm(fake, group)
    address = hosts.up(group, ["a"])["a"]
    key = Path(f"{group.host_key('a')}.pub").read_text().split()
    assert fake.whole(group.container("a"))
    assert group.known_hosts.read_text() == f"{address} {key[0]} {key[1]}\n"


def test_a_second_up_changes_nothing(fake: FakePodman, group: hosts.Group) -> None:
    first = hosts.up(group, ["a", "b"])
    before = {name: each["labels"] for name, each in fake.containers.items()}
    fake.calls_left = 2  # podman start of a running host is all
    assert hosts.up(group, ["a", "b"]) == first
    assert {name: each["labels"] for name, each in fake.containers.items()} == before


def test_a_new_image_replaces_the_host_at_its_address(
    fake: FakePodman, group: hosts.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hosts.up(group, ["a"])
    monkeypatch.setattr(hosts.image, "ensure", lambda kind: "another")
    assert hosts.up(group, ["a"]) == first
    assert fake.containers[group.container("a")]["image"] == "another"


def test_a_mounted_folder_that_was_made_again_is_mounted_again(
    fake: FakePodman, group: hosts.Group, tmp_path: Path
) -> None:
    content, keeps_the_inode = tmp_path / "content", tmp_path / "old"
    content.mkdir()
    hosts.up(group, ["a"], volumes=[f"{content}:/srv/depot:ro"])
    before = fake.containers[group.container("a")]
    content.rename(keeps_the_inode)
    content.mkdir()
    hosts.up(group, ["a"], volumes=[f"{content}:/srv/depot:ro"])
    assert fake.containers[group.container("a")] is not before
    assert fake.whole(group.container("a"))


def test_an_address_that_was_given_up_is_not_given_again_at_once(fake: FakePodman, group: hosts.Group) -> None:
    first = hosts.up(group, ["a"])
    hosts.down(group)
    assert hosts.up(group, ["a"]) != first


def test_down_removes_its_own_group_alone(fake: FakePodman, group: hosts.Group, tmp_path: Path) -> None:
    other = hosts.Group(tmp_path / "other", "other")
    hosts.up(group, ["a"])
    hosts.up(other, ["a"])
    hosts.down(group)
    assert list(fake.containers) == [other.container("a")]
    assert not group.state.exists()
    assert other.known_hosts.exists()


def test_the_state_is_for_its_owner_alone(fake: FakePodman, group: hosts.Group) -> None:
    hosts.up(group, ["a"])
    assert group.state.stat().st_mode & 0o777 == 0o700
    assert group.client_key.stat().st_mode & 0o777 == 0o600


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(16, 32)), max_size=8))
def test_a_new_network_overlaps_no_other(others: list[tuple[int, int]]) -> None:
    taken = [str(ipaddress.ip_network(f"10.201.{third}.0/{prefix}", strict=False)) for third, prefix in others]
    if any(prefix == 16 for _, prefix in others):
        with pytest.raises(podman.PodmanError, match="no free /24"):
            podman.free_subnet(taken)
        return
    try:
        found = podman.free_subnet([*taken, "fd00::/8"])
    except podman.PodmanError:
        assert {address for other in taken for address in _thirds(other)} == set(range(256))
    else:
        assert not any(found.overlaps(ipaddress.IPv4Network(other)) for other in taken)


def _thirds(text: str) -> range:
    network = ipaddress.IPv4Network(text)
    return range(network[0].packed[2], network[-1].packed[2] + 1)


def test_a_changed_recipe_is_another_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "RECIPE", tmp_path)
    (tmp_path / "packages").write_text("systemd\n")
    (tmp_path / "depot.service").write_text("[Unit]\n")
    host, depot = image.tag("host"), image.tag("depot")
    (tmp_path / "depot.service").write_text("[Service]\n")
    assert (image.tag("host"), image.tag("depot")) != (host, depot)
    assert image.tag("host") == host
    (tmp_path / "packages").write_text("systemd\nsudo\n")
    assert image.tag("host") != host
