"""The judge of molecule/trust sees each effect that an attack may have: a scenario that sees nothing proves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.support.places import ROOT

ATTACKS = ROOT / "molecule/trust/files/attacks/attacks.py"
NAME, ROUND = "script_is_a_link", "write"
SECRET = f"canary-{NAME}-of-root"


def order(host: Path, *words: str, said: str = "") -> Any:
    env = {**os.environ, "TRUST_HOST": str(host), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(ATTACKS), *words], env=env, input=said.encode(), capture_output=True, check=True
    )
    return json.loads(done.stdout or b"null")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "srv/blockmoving/BlockMovingSFT/scripts").mkdir(parents=True)
    (tmp_path / "var/lib/canvas-fleet").mkdir(parents=True)
    (tmp_path / "srv/blockmoving/BlockMovingSFT/scripts/train_blockmoving.sh").write_text("ours")
    order(tmp_path, "targets")
    return tmp_path


def effects(host: Path, said: str = "") -> Any:
    return order(host, "judge", ROUND, said=said)["went_through"].get(NAME, [])


def test_what_was_not_touched_is_no_effect(host: Path) -> None:
    order(host, "plant", ROUND)
    assert effects(host) == []


@pytest.mark.parametrize(
    ("effect", "cause"),
    [
        ("something else lies in the target", lambda host: (host / "srv/targets" / NAME / "file").write_text("x")),
        ("something else lies in the target", lambda host: (host / "srv/targets" / NAME / "new").touch()),
        ("something else lies in the target", lambda host: (host / "srv/targets" / NAME / "file").unlink()),
        ("the file has another owner or mode", lambda host: (host / "srv/targets" / NAME / "file").chmod(0o644)),
        ("the folder has another owner or mode", lambda host: (host / "srv/targets" / NAME).chmod(0o755)),
        ("the account can read the secret", lambda host: (host / "srv/blockmoving/told").write_text(SECRET)),
        ("it acted as root", lambda host: (host / "srv/ran" / f"{NAME}.0").touch()),
    ],
)
def test_each_effect_is_seen(effect: str, cause: Callable[[Path], object], host: Path) -> None:
    cause(host)
    assert effects(host) == [effect]


def test_a_secret_on_the_controllers_terminal_is_seen(host: Path) -> None:
    assert effects(host, said=f"found {SECRET}") == ["the controller showed the secret"]


@pytest.mark.parametrize("mark", ["\x1b[31m", "\r", "\x9b", "\u202e", "\u200b", "\x00"])
def test_a_control_character_on_the_terminal_is_seen(mark: str, host: Path) -> None:
    assert len(order(host, "judge", "none", said=f"one\ntwo{mark}")["strange"]) == 1


def test_a_root_that_follows_links_is_caught(host: Path) -> None:
    order(host, "plant", ROUND)
    (host / "srv/blockmoving/BlockMovingSFT/scripts/train_blockmoving.sh").write_text("new")
    assert effects(host) == ["something else lies in the target"]


def test_traps_are_taken_away_and_what_was_there_comes_back(host: Path) -> None:
    script = host / "srv/blockmoving/BlockMovingSFT/scripts/train_blockmoving.sh"
    order(host, "plant", ROUND)
    assert script.is_symlink()
    order(host, "clear")
    assert script.read_text() == "ours"


def test_there_are_at_least_fifty_five_attacks() -> None:
    text = "".join(path.read_text() for path in ATTACKS.parent.glob("*.py"))
    assert text.count("@attack(") >= 55
    rounds = {line.split('"')[1] for line in text.splitlines() if line.startswith("@attack(")}
    played = (ROOT / "molecule/trust/verify.yml").read_text()
    assert all(f"round: {one}" in played for one in rounds)
