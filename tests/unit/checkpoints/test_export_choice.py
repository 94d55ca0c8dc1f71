"""What cannot be exported is refused in one sentence, before anything is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import export_choice, seal
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.system import folders

from tests.unit.support import models
from tests.unit.support.exported import Run, Spoil


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def nothing(run: Run) -> None:
    folders.remove_tree(run.place.checkpoints)


def cut(run: Run) -> None:
    path = Path(run.place.folder(40)) / "ema.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    for one in (*path.parent.iterdir(), path.parent):
        os.utime(one, (1e9, 1e9))


def being_saved(run: Run) -> None:
    (Path(run.place.folder(40)) / "data_status.pt").unlink()


def other_content(run: Run) -> None:
    run.seal(40)
    manifest = seal.read_manifest(run.place, 40) or {}
    manifest["files"]["ema.safetensors"]["mark"] = "0" * 64
    for name in manifest["files"]:
        if name != "ema.safetensors":
            manifest["files"][name]["mtime"] += 1  # or it would be the seal of another save
    seal.write_manifest(run.place, manifest)
    folders.remove_tree(run.place.links(40))
    for path in Path(run.place.folder(40)).glob("*.pt"):
        path.unlink()


def tensors(run: Run, **change: Any) -> None:
    path = Path(run.place.folder(40)) / "ema.safetensors"
    found = {**models.read(path), **change}
    models.write(path, {name: one for name, one in found.items() if one is not None}, "BF16", {})


def fewer(run: Run) -> None:
    tensors(run, **{"connector.fc1.bias": None})


def more(run: Run) -> None:
    tensors(run, **{"connector.fc9.bias": numpy.zeros(3, "f4")})


def another_shape(run: Run) -> None:
    tensors(run, **{"connector.fc1.bias": numpy.zeros(25, "f4")})


def another_type(run: Run) -> None:
    tensors(run, **{"connector.fc1.bias": numpy.zeros(24, "f2")})


def foreign(run: Run) -> None:
    run.made("0000040-ema").mkdir(parents=True)


def no_vae(run: Run) -> None:
    (run.root / "model/ae.safetensors").unlink()


def adapters(run: Run) -> None:
    run.adapters(60)


def older_merge(run: Run) -> None:
    run.adapters(50, merge=True)
    run.adapters(60)


KEYS = "weights are of another model"


@pytest.mark.parametrize(
    ("spoil", "asked", "words"),
    [
        (nothing, {}, ["nothing to export", "no checkpoint"]),
        (lambda _run: None, {"step": 30}, ["step 30 cannot be exported", "no such step", "one of 20, 40"]),
        (cut, {"step": 40}, ["step 40 cannot be exported", "ema.safetensors", "one of 20"]),
        (being_saved, {"step": 40}, ["step 40 is being saved", "data_status.pt is missing", "wait for the end"]),
        (other_content, {"step": 40}, ["not what was sealed"]),
        (fewer, {}, [KEYS, "connector.fc1.bias is missing"]),
        (more, {}, [KEYS, "connector.fc9.bias is not in the base"]),
        (another_shape, {}, [KEYS, "[25] instead of BF16 [24]"]),
        (another_type, {}, [KEYS, "is F16 [24] instead of BF16 [24]"]),
        (foreign, {}, ["somebody else's", "EXPORTED.json"]),
        (no_vae, {}, ["the base lacks files", "no ae.safetensors"]),
        (adapters, {}, ["step 60 holds adapters", "playbooks/merge.yml -e training_merge_step=60"]),
        (adapters, {"step": 60, "kind": "merged"}, ["step 60 holds adapters", "training_merge_step=60"]),
        (adapters, {"kind": "model"}, ["step 60 holds adapters", "export_weights: merged"]),
        (older_merge, {}, ["step 60 holds adapters", "merged models of steps: 50"]),
        (lambda _run: None, {"kind": "merged"}, ["nothing to export", "no merged model"]),
        (lambda _run: None, {"kind": "merged", "step": 20}, ["step 20 cannot be exported", "no merged model"]),
    ],
    ids=[
        "nothing", "no such step", "cut", "being saved", "unsealed", "a key less", "a key more", "a shape", "a type",
        "foreign folder", "no VAE", "not merged", "merged asked", "model asked", "another merged", "merged of none",
        "merged of full",
    ],
)  # fmt: skip
def test_it_is_refused_and_nothing_is_made(run: Run, spoil: Spoil, asked: dict[str, Any], words: list[str]) -> None:
    spoil(run)
    with pytest.raises(FleetError) as error:
        run.make(**asked)
    for word in words:
        assert word in str(error.value)
    assert not (run.out / "exports").exists() or os.listdir(run.out / "exports") == ["0000040-ema"]


def test_exports_never_lie_among_the_checkpoints(run: Run) -> None:
    with pytest.raises(FleetError, match="share a folder"):
        run.make(results=run.place.checkpoints)


def test_sinusoids_that_the_trainer_computes_are_no_other_model(run: Run) -> None:
    tensors(run, **{"latent_pos_embed.pos_embed": numpy.zeros((4, 4), "f4")})
    assert run.make()["step"] == 40


def test_a_checkpoint_whose_state_was_deleted_is_enough(run: Run) -> None:
    for path in Path(run.place.folder(40)).glob("*.pt"):
        path.unlink()
    assert run.make()["step"] == 40


def test_a_merged_model_outlives_its_adapters(run: Run) -> None:
    run.adapters(60, merge=True)
    folders.remove_tree(run.place.folder(60))
    assert run.make(step=60)["weights"] == "merged"


def test_on_the_disk_of_the_checkpoints_an_export_is_links_and_takes_no_room(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "free", lambda _path: export_choice.SPARE)
    assert run.make()["step"] == 40


def test_another_disk_is_judged_before_anything_is_made(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.stat

    def elsewhere(path: Any, *args: Any, **named: Any) -> os.stat_result:
        found = real(path, *args, **named)
        here = str(path) == str(run.out)
        return os.stat_result((*found[:2], found.st_dev + 1, *found[3:10]), {}) if here else found

    monkeypatch.setattr(export_choice.os, "stat", elsewhere)
    monkeypatch.setattr(folders, "free", lambda _path: export_choice.SPARE)
    with pytest.raises(FleetError, match="too small for the export"):
        run.make()
    assert not (run.out / "exports").exists()
