"""From a checkpoint of adapters to a folder that inference loads: whole under its name, or not there."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import guard, model_folder
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import models as merged_models
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import seal as checkpoint_seal
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.model_folder import MergeSpec
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.system import files, folders

from tests.unit.support import models, saves
from tests.unit.support.guarded import killed_before
from tests.unit.support.saves import LORA, Killed, save

NAMES = (*models.SMALL_FILES, "ae.safetensors", "ema.safetensors")


class Run:
    """A run with adapters of steps 20 and 40, as a training leaves them."""

    def __init__(self, root: Path) -> None:
        self.root, self.base = root, models.base(root / "model")
        self.spec = MergeSpec(saves.place(root / "out"), str(root / "out"), str(root / "model"), NAMES)
        for step in (20, 40):
            self.save(step)

    def save(self, step: int) -> None:
        folder = Path(self.spec.place.folder(step))
        save(folder.parent, step, files=LORA, delete=False)
        models.adapters(folder / LORA[0], self.base, seed=step)

    def adapters(self, step: int) -> Path:
        return Path(self.spec.place.folder(step)) / LORA[0]

    def make(self, step: int = -1, progress: Progress | None = None) -> dict[str, Any]:
        return model_folder.make(replace(self.spec, step=step), progress or Progress(), lambda _seconds: None)

    def made(self, step: int) -> Path:
        return Path(merged_models.folder_of(str(self.root / "out"), step))

    def right(self, step: int) -> bool:
        expected = models.wanted(self.base, self.adapters(step))
        found = models.read(self.made(step) / "ema.safetensors")
        return all(numpy.array_equal(expected[name], found[name]) for name in expected)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_the_newest_becomes_a_folder_like_the_bases(run: Run) -> None:
    done = run.make()
    size = run.base.stat().st_size
    assert done == {**done, "changed": True, "step": 40, "path": str(run.made(40)), "bytes": size}
    assert sorted(os.listdir(run.made(40))) == sorted([*NAMES, "MERGED.json"])
    assert run.right(40)
    record = json.loads((run.made(40) / "MERGED.json").read_text())
    assert {name: record[name] for name in ("step", "rank", "alpha", "targets", "layers", "connectors", "base")} == {
        "step": 40, "rank": 4, "alpha": 8.0, "targets": "all", "layers": 2, "connectors": 2,
        "base": models.header_digest(run.base),
    }  # fmt: skip
    assert sorted(os.listdir(run.root / "out/models")) == [".lock", "0000040"]
    assert merged_models.made_steps(str(run.root / "out")) == (40,)


def test_large_files_are_shared_with_the_base_and_small_ones_are_copied(run: Run) -> None:
    run.make()
    assert (run.made(40) / "ae.safetensors").samefile(run.root / "model/ae.safetensors")
    assert not (run.made(40) / "llm_config.json").samefile(run.root / "model/llm_config.json")


def test_a_disk_without_second_names_gets_copies(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_paths: str) -> None:
        raise OSError(checkpoint_seal.NO_LINKS[0], "no links")

    monkeypatch.setattr(files, "link", refuse)
    run.make()
    assert (run.made(40) / "ae.safetensors").read_bytes() == (run.root / "model/ae.safetensors").read_bytes()


def test_a_second_time_there_is_nothing_to_do(run: Run) -> None:
    run.make()
    inode = (run.made(40) / "ema.safetensors").stat().st_ino
    assert run.make()["changed"] is False
    assert (run.made(40) / "ema.safetensors").stat().st_ino == inode


@pytest.mark.parametrize("what", ["other adapters", "cut weights"])
def test_what_is_no_longer_right_is_made_anew(run: Run, what: str) -> None:
    run.make()
    if what == "other adapters":
        models.adapters(run.adapters(40), run.base, seed=99)
    else:
        (run.made(40) / "ema.safetensors").write_bytes(b"cut")
    assert run.make()["changed"] is True
    assert run.right(40)


def test_any_step_can_be_chosen_also_one_whose_links_are_left(run: Run) -> None:
    place = run.spec.place
    assert run.make(20)["step"] == 20
    guard.keep(place, 40, place.folder(40), lambda _text: None)
    folders.remove_tree(place.folder(40))
    assert run.make(40)["step"] == 40
    assert merged_models.made_steps(str(run.root / "out")) == (20, 40)


def test_a_checkpoint_without_its_state_is_enough(run: Run) -> None:
    for path in Path(run.spec.place.folder(40)).glob("*.pt"):
        path.unlink()
    assert run.make()["step"] == 40


def test_a_newest_one_that_is_cut_is_passed_over(run: Run) -> None:
    data = run.adapters(40).read_bytes()
    run.adapters(40).write_bytes(data[:-1])
    assert run.make()["step"] == 20


def nothing(run: Run) -> None:
    folders.remove_tree(run.spec.place.checkpoints)


def whole_models(run: Run) -> None:
    nothing(run)
    save(Path(run.spec.place.checkpoints), 20)


def foreign_folder(run: Run) -> None:
    (run.made(40)).mkdir(parents=True)
    (run.made(40) / "mine").write_text("mine")


def unsealed(run: Run) -> None:
    place = run.spec.place
    guard.keep(place, 40, place.folder(40), lambda _text: None)
    manifest = checkpoint_seal.read_manifest(place, 40) or {}
    manifest["files"][LORA[0]]["sha256"] = "0" * 64
    checkpoint_seal.write_manifest(place, manifest)


def no_vae(run: Run) -> None:
    (run.root / "model/ae.safetensors").unlink()


@pytest.mark.parametrize(
    ("spoil", "step", "message"),
    [
        (nothing, -1, "no checkpoint of adapters"),
        (whole_models, -1, "no checkpoint of adapters"),
        (whole_models, 20, "step 20 cannot be merged"),
        (lambda _run: None, 30, "step 30 cannot be merged"),
        (foreign_folder, 40, "somebody else's"),
        (unsealed, 40, "not what was sealed"),
        (no_vae, 40, "no ae.safetensors"),
    ],
    ids=["nothing", "a whole model", "a whole model's step", "no such step", "foreign", "unsealed", "no VAE"],
)
def test_what_cannot_be_is_refused_and_leaves_no_model(
    run: Run, spoil: Callable[[Run], None], step: int, message: str
) -> None:
    spoil(run)
    with pytest.raises(FleetError) as error:
        run.make(step)
    assert message in str(error.value)
    assert merged_models.made_steps(str(run.root / "out")) == ()


def test_a_full_disk_is_seen_before_anything_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "free", lambda _path: run.base.stat().st_size)
    with pytest.raises(FleetError, match="too small"):
        run.make()
    assert sorted(os.listdir(run.root / "out/models")) == [".lock", ".state.json"]
    state = merged_models.state_of(str(run.root / "out"))
    assert state is not None
    assert "too small" in state.error


def test_a_python_without_numpy_is_told_before_anything_is_made(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(FleetError, match="cannot merge"):
        run.make()
    assert not (run.root / "out/models").exists()


@pytest.mark.parametrize("name", ["²²²²²²²", "000004", "0000040x"])
def test_only_steps_are_models(run: Run, name: str) -> None:
    run.make()
    run.made(40).rename(run.made(40).with_name(name))
    assert merged_models.made_steps(str(run.root / "out")) == ()


def test_models_never_lie_among_the_checkpoints(run: Run) -> None:
    inside = replace(run.spec, results=run.spec.place.checkpoints)
    with pytest.raises(FleetError, match="share a folder"):
        model_folder.make(inside, Progress())


def test_a_merge_that_is_killed_anywhere_begins_anew(run: Run) -> None:
    call = 0
    while True:
        try:
            with killed_before(call):
                run.make()
            break
        except Killed:
            there = run.made(40)
            assert not there.exists() or run.right(40)
        call += 1
    assert call > 10
    assert run.make()["changed"] is False
    assert run.right(40)
    assert [name for name in os.listdir(run.root / "out/models") if name.startswith((".new", ".old"))] == []


def test_a_merge_that_is_killed_between_two_names_loses_no_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.make()
    models.adapters(run.adapters(40), run.base, seed=99)
    run.made(40).rename(run.made(40).with_name(".old-0000040"))
    with monkeypatch.context() as full:
        full.setattr(folders, "free", lambda _path: 0)
        with pytest.raises(FleetError, match="too small"):
            run.make()
    assert merged_models.made_steps(str(run.root / "out")) == (40,)
    assert run.make()["changed"] is True
    assert run.right(40)


def test_who_comes_second_waits_and_shows_the_firsts_progress(run: Run) -> None:
    models_folder = run.root / "out/models"
    models_folder.mkdir(parents=True)
    files.save(models_folder / ".state.json", {"done": 5, "total": 10, "unit": "B", "what": "merges", "samples": []})
    heard: list[dict[str, Any]] = []
    waits = threading.Event()
    with files.locked(models_folder / ".lock"):
        second = threading.Thread(
            target=lambda: model_folder.make(
                run.spec, Progress(heard.append), lambda _seconds: waits.wait(0.01) or None
            )
        )
        second.start()
        while not heard:
            waits.wait(0.01)
        assert not run.made(40).exists()
    second.join(20)
    assert (heard[0]["done"], heard[0]["total"], heard[0]["what"]) == (5, 10, "merges")
    assert run.right(40)
