"""An export goes to a hub by huggingface_hub itself: in one commit, gone on from after a cut, and no token anywhere.

The hub is a stand-in that speaks the hub's protocol (tests/unit/support/push_hub.py).
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.action import export_push
from ansible_collections.canvas.fleet.plugins.module_utils.core import masking

from tests.unit.support import actions, push_hub
from tests.unit.support.push_hub import READER, TOKEN, Hub

WEIGHTS = b"".join(sha256(f"{number}".encode()).digest() for number in range(5000))
FILES = {
    "ema.safetensors": WEIGHTS,
    "ae.safetensors": WEIGHTS[:1000],
    "sub/config.json": b"{}",
    "README.md": b"---\nlicense: apache-2.0\n---\n# A model\n",
    "EXPORTED.json": b"{}",
}


class Clock(actions.Clock):
    """The client's own pauses pass at once."""


class Pusher:
    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub, self.folder, self.lines = hub, folder, [""]
        for name, data in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        self.sum()

    def sum(self) -> None:
        sums = {name: sha256((self.folder / name).read_bytes()).hexdigest() for name in FILES}
        (self.folder / "SHA256SUMS").write_text("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))

    def __call__(self, token: str = TOKEN, check: bool = False, repo: str = "canvas/model", **args: Any) -> Any:
        masking.remember(token)
        settings = {
            "export_push_to": repo, "export_push_endpoint": self.hub.address, "export_push_private": True,
            "training_run": "atlas", "fleet_reconnect_timeout": 5,
        }  # fmt: skip
        made = actions.action(export_push, iter([]), settings, check, **args)
        made.clock, made.show = Clock(), self.lines.append
        made.secret = lambda _name: token
        return actions.run(made)

    def ready(self, **more: Any) -> Any:
        return self(state="ready", **more)

    def push(self, **more: Any) -> Any:
        return self(folder=str(self.folder), card=FILES["README.md"].decode(), **more)

    def there(self) -> dict[str, bytes]:
        return {name: self.hub.blobs[digest] for name, digest in self.hub.commits[-1].items()}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with push_hub.served() as one:
        yield one


@pytest.fixture
def pusher(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pusher:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    return Pusher(hub, tmp_path / "0001530-ema")


def test_it_is_made_private_pushed_in_one_commit_and_a_second_push_changes_nothing(pusher: Pusher, hub: Hub) -> None:
    assert pusher.ready()["changed"] is True
    assert hub.private == {"canvas/model": True}
    assert hub.commits == []
    done = pusher.push()
    assert (done["changed"], done["url"], done["commit"]) == (True, f"{hub.address}/canvas/model", hub.head)
    assert pusher.there() == {**FILES, "SHA256SUMS": (pusher.folder / "SHA256SUMS").read_bytes()}
    assert (len(hub.commits), pusher.ready()["changed"], pusher.push()["changed"]) == (1, False, False)
    assert len(hub.commits) == 1


@pytest.mark.parametrize("parts", [False, True], ids=["in one part", "in several parts"])
def test_a_push_that_was_cut_goes_on_with_what_the_hub_lacks(pusher: Pusher, hub: Hub, parts: bool) -> None:
    hub.parts = parts
    pusher.ready()
    hub.cut = 90_000  # in the middle of the largest file, which goes last
    refused = pusher.push()
    assert (refused["failed"], hub.commits) == (True, [])
    assert "the hub cannot be reached" in refused["msg"]
    hub.cut = 0
    before = hub.received
    assert pusher.push()["changed"] is True
    assert pusher.there()["ema.safetensors"] == WEIGHTS
    assert hub.received - before == len(WEIGHTS), "what the hub has by its digest is not sent again"


def test_a_commit_whose_answer_was_lost_is_not_made_twice(pusher: Pusher, hub: Hub) -> None:
    pusher.ready()
    hub.lose_commit = True
    assert pusher.push()["changed"] is True
    assert len(hub.commits) == 1
    assert pusher.there()["ema.safetensors"] == WEIGHTS


@pytest.mark.parametrize(
    ("token", "exists", "words"),
    [
        ("hf_" + "X" * 34, False, ["the hub refuses the token", "HTTP 401", "export_push_token"]),
        ("hf_" + "X" * 34, True, ["the hub refuses the token", "HTTP 401"]),
        (READER, False, ["the hub refuses the token", "HTTP 403"]),
        (READER, True, ["the hub refuses the token", "HTTP 403", "right to write"]),
        ("", True, ["a push needs a token"]),
    ],
    ids=["wrong", "wrong, of a repository that exists", "may not make one", "may only read", "none"],
)
def test_a_token_that_may_not_is_one_finding_before_anything_is_sent(
    pusher: Pusher, hub: Hub, token: str, exists: bool, words: list[str],
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    if exists:
        hub.private["canvas/model"] = True
    result = pusher.ready(token=token)
    assert (result["failed"], hub.blobs, hub.commits) == (True, {}, [])
    for word in words:
        assert word in result["msg"]
    said = json.dumps(result, default=str) + "".join(pusher.lines) + "".join(capfd.readouterr()) + caplog.text
    assert "XXXX" not in said
    assert "RRRR" not in said
    assert len(result["msg"]) < 600


def test_no_token_and_no_signed_address_is_said_when_a_push_fails_in_the_middle(
    pusher: Pusher, hub: Hub, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pusher.ready()
    hub.cut = 90_000
    result = pusher.push()
    said = json.dumps(result, default=str) + "".join(pusher.lines) + "".join(capfd.readouterr()) + caplog.text
    assert "WWWW" not in said
    assert "5161e7" not in said


def test_other_content_on_the_hub_is_noticed(pusher: Pusher, hub: Hub) -> None:
    pusher.ready()
    hub.spoils = True
    assert "other content than was pushed" in pusher.push()["msg"]


def test_a_dry_run_asks_and_makes_nothing(pusher: Pusher, hub: Hub) -> None:
    assert pusher.ready(check=True)["would"] == ["make the repository canvas/model"]
    assert "push" in pusher.push(check=True)["would"][0]
    assert (hub.private, hub.commits) == ({}, [])
    assert "the hub refuses the token" in pusher.ready(check=True, token="hf_" + "X" * 34)["msg"]


def test_a_folder_that_is_not_whole_is_not_pushed(pusher: Pusher, hub: Hub) -> None:
    pusher.ready()
    (pusher.folder / "ae.safetensors").unlink()
    assert "no whole export" in pusher.push()["msg"]
    (pusher.folder / "SHA256SUMS").unlink()
    assert "no whole export" in pusher.push()["msg"]
    assert hub.blobs == {}


def test_a_card_that_its_host_has_changed_is_not_published(pusher: Pusher, hub: Hub) -> None:
    pusher.ready()
    (pusher.folder / "README.md").write_text("# Buy this")
    pusher.sum()
    assert "not the one that was written here" in pusher.push()["msg"]
    assert (hub.blobs, hub.commits) == ({}, [])


def test_nothing_of_the_controllers_environment_is_taken_for_a_token(
    pusher: Pusher, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "HF_TOKEN", TOKEN)
    assert "a push needs a token" in pusher.ready(token="")["msg"]
    assert hub.asked == []
