"""Checkpoints of the profile lora: the guard treats their files as it treats those of a whole model."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import guard as checkpoint_guard
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import restore, seal
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import guard as supervisor_guard
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import checkpoint as checkpoints
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.adapter import Adapter

from tests.unit.support import saves
from tests.unit.support.guarded import Run, hurt
from tests.unit.support.saves import FILES, LORA, save

WRITES = 1 + 2 * len(LORA)


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor_guard._ended.clear()
    monkeypatch.setattr(supervisor_guard, "REST", 0.0)
    monkeypatch.setattr(supervisor_guard, "_digest", lambda *_: None)  # a thread


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two ranks in one shard group: the spec says 2 shards, a save has one optimizer file all the same."""
    return Run(tmp_path, profile="lora")


def test_a_whole_one_tells_what_its_adapters_are(run: Run) -> None:
    run.saved(20)
    seen = checkpoints.examine(str(run.folder / "0000020"), 20)
    assert (seen.kind, seen.flaws, seen.shards, seen.form) == ("whole", (), 1, "lora")
    assert seen.adapter == Adapter(2, 4.0, "all", True, saves.BASE, 2)
    assert wire.from_dict(checkpoints.Checkpoint, wire.to_dict(seen)) == seen


@pytest.mark.parametrize("stop", range(WRITES))
def test_a_save_killed_before_any_write_loses_that_save_alone(run: Run, stop: int) -> None:
    run.saved(20, 40)
    assert not save(run.folder, 60, upto=stop, files=LORA)
    before = run.content()
    assert run.start() == 40
    assert before <= run.content()


@pytest.mark.parametrize("name", LORA)
@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "longer", "a folder", "ends kept, middle changed"])
def test_a_damaged_sealed_file_means_the_one_before(run: Run, name: str, damage: str) -> None:
    run.saved(20, 40, 60)
    hurt(run.folder / "0000060" / name, damage)
    assert run.start() == (60 if damage in ("missing", "a folder") else 40)


def test_a_part_under_another_name_is_a_save_under_way(run: Run) -> None:
    run.saved(20, 40)
    (run.folder / "0000060").mkdir()
    (run.folder / "0000060/adapter.safetensors.part").write_bytes(b"x")
    seen = checkpoints.survey(str(run.folder))
    assert (seen.newest and seen.newest.form, seen.others) == ("lora", ())
    assert run.start() == 40


def test_without_its_state_it_is_a_model_alone(run: Run) -> None:
    run.saved(20, 40)
    seen = checkpoints.examine(str(run.folder / "0000020"), 20)
    assert (seen.kind, seen.flaws[0]) == ("model", "it holds the adapters alone, without .pt files")
    assert seen.adapter


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (("model.safetensors",), "model.safetensors of another save beside adapter.safetensors"),
        (("optimizer.00000-of-00002.pt",), "optimizer files of different saves: of 1 and of 2 shards"),
    ],
)
def test_a_mix_of_both_forms_is_not_whole_and_the_start_goes_back(run: Run, files: tuple[str, ...], told: str) -> None:
    run.saved(20, 40)
    save(run.folder, 60, files=(*LORA, *files))
    assert told in checkpoints.examine(str(run.folder / "0000060"), 60).flaws
    assert run.start() == 40
    assert (run.root / "kept/aside/0000060-1" / files[0]).exists()


def test_an_optimizer_of_shards_does_not_fit_adapters(run: Run) -> None:
    save(run.folder, 20, files=(LORA[0], *FILES[2:]))
    flaws = checkpoints.examine(str(run.folder / "0000020"), 20).flaws
    assert flaws == ("an optimizer of 2 shards beside adapter.safetensors",)


@pytest.mark.parametrize(
    ("told", "flaw"),
    [
        ({"rank": ""}, "its metadata name no rank"),
        ({"rank": "3"}, "has not rank 3"),
        ({"rank": "2.5"}, "a rank of 2.5"),
        ({"rank": "1e999"}, "name no rank"),
        ({"alpha": "nan"}, "name no alpha"),
        ({"alpha": "-1"}, "an alpha of -1"),
        ({"targets": "x" * 900}, "name no targets"),
        ({"connectors": "2"}, "no connectors"),
        ({"base_header_sha256": "../etc"}, "name no base"),
    ],
)
def test_adapters_that_do_not_say_what_they_are_are_not_whole(run: Run, told: dict[str, str], flaw: str) -> None:
    run.saved(20)
    (run.folder / "0000020" / LORA[0]).write_bytes(saves.adapter(20, **told))
    (found,) = checkpoints.examine(str(run.folder / "0000020"), 20).flaws
    assert found.startswith("adapter.safetensors: ")
    assert flaw in found
    assert len(found) < 300


def test_it_can_be_restored_and_its_links_rotate(run: Run) -> None:
    run.saved(20, 40, 60)
    assert seal.kept_steps(run.place) == [40, 60]
    done = restore.restore(run.place, 40, check=False)
    assert done.after == "20 model\n40 whole\n"
    assert run.start() == 40


@pytest.mark.parametrize(
    ("profile", "files", "found"), [("lora", FILES, "full or frozen"), ("full", LORA, "lora"), ("frozen", LORA, "lora")]
)
def test_a_start_never_loads_the_other_form(run: Run, profile: str, files: tuple[str, ...], found: str) -> None:
    save(run.folder, 20, files=files)
    with pytest.raises(FleetError) as error:
        checkpoint_guard.prepare(run.place, 2, 20, run.said.append, profile)
    assert (error.value.code, error.value.found.rpartition("of ")[2]) == ("CHECKPOINT_OTHER_PROFILE", found)
    assert (run.folder / "0000020").exists()


def test_a_profile_that_is_not_chosen_yet_refuses_nothing(run: Run) -> None:
    save(run.folder, 20, files=LORA)
    target = checkpoint_guard.prepare(run.place, 2, 20, run.said.append, "auto")
    assert target is not None
