"""Where the tokenizer comes from: the model folder, what was fetched before, the hub, or nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import tokenizer as dataset_tokenizer

WANTED = {"weights_repo": "me/model", "weights_revision": "a" * 40, "weights_endpoint": "https://h"}


class FakeHub:
    """Gives each file its name as content; `down_at` is the file that does not come."""

    asked: list[str]

    def __init__(self, down_at: str = "") -> None:
        self.down_at, self.asked = down_at, []

    def __call__(self, *told: Any) -> FakeHub:
        return self

    def describe(self, name: str) -> str:
        if name == self.down_at:
            raise FleetError("the hub cannot be reached")
        self.asked.append(name)
        return name

    def fetch(self, name: str, part: Path) -> None:
        part.write_text(name)


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_tokenizer, "find_spec", lambda name: True)


def test_the_model_folder_comes_first_and_nothing_is_fetched(tmp_path: Path) -> None:
    for name in dataset_tokenizer.TOKENIZER_FILES:
        (tmp_path / name).write_text("{}")
    hub = FakeHub()
    assert dataset_tokenizer.folder({**WANTED, "weights_dir": str(tmp_path)}, tmp_path / "state", hub) == str(tmp_path)
    assert hub.asked == []


def test_it_is_fetched_once(tmp_path: Path) -> None:
    hub = FakeHub()
    found = dataset_tokenizer.folder(WANTED, tmp_path, hub)
    assert sorted(path.name for path in Path(found).iterdir()) == sorted(dataset_tokenizer.NAMES)
    assert dataset_tokenizer.folder(WANTED, tmp_path, hub) == found
    assert len(hub.asked) == 3


@pytest.mark.parametrize("lost", dataset_tokenizer.NAMES)
def test_a_fetch_that_is_cut_anywhere_is_no_error_and_the_next_one_is_whole(tmp_path: Path, lost: str) -> None:
    assert dataset_tokenizer.folder(WANTED, tmp_path, FakeHub(down_at=lost)) == ""
    found = dataset_tokenizer.folder(WANTED, tmp_path, FakeHub())
    assert dataset_tokenizer.whole(Path(found))


def test_another_revision_is_another_tokenizer(tmp_path: Path) -> None:
    first = dataset_tokenizer.folder(WANTED, tmp_path, FakeHub())
    assert dataset_tokenizer.folder({**WANTED, "weights_revision": "b" * 40}, tmp_path, FakeHub()) != first


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="a role that knows of no model"),
        pytest.param({**WANTED, "weights_revision": ""}, id="no revision"),
        pytest.param({**WANTED, "weights_repo": ""}, id="no repository"),
    ],
)
def test_without_a_model_nothing_is_asked(tmp_path: Path, spec: dict[str, Any]) -> None:
    assert dataset_tokenizer.folder(spec, tmp_path, FakeHub()) == ""


def test_without_the_library_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_tokenizer, "find_spec", lambda name: None)
    hub = FakeHub()
    assert (dataset_tokenizer.folder(WANTED, tmp_path, hub), hub.asked) == ("", [])
