"""What the account leaves in the places of our files keeps no teardown from its end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.support.accounts import deepen
from tests.unit.support.provisioned import EVERYTHING, Host


def deep(path: Path) -> None:
    path.mkdir()
    deepen(path, 1100)


STRAYS: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a deep folder": deep,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize(
    ("place", "stray"),
    [
        *(("run_config_script", stray) for stray in STRAYS),
        ("run_config_yaml", "a pipe"),
        ("canvas_code_checkout", "a link to itself"),
        ("canvas_code_dir", "a deep folder"),
        ("training_results_dir", "a deep folder"),
        ("training_checkpoint_dir", "a pipe"),
        ("weights_dir", "a link to a device"),
        ("dataset_train_file", "a pipe"),
    ],
)
def test_a_teardown_ends_whatever_stands_in_a_place_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, stray: str, request: pytest.FixtureRequest
) -> None:
    host = Host(tmp_path, monkeypatch)
    request.addfinalizer(lambda: subprocess.run(["rm", "-rf", str(host.fleet)], check=True))
    path = Path(str(host.settings[place]))
    subprocess.run(["rm", "-rf", str(path)], check=True)
    STRAYS[stray](path)
    host.teardown(*EVERYTHING)
