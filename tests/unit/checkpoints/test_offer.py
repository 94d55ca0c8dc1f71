"""What a host offers to be fetched, and what the controller lets through of it."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import offer as offers
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import seal
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.models import Made
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.offer import File, Offer
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.seal import Place
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError

from tests.unit.support import saves

HEX = "0" * 64
WEIGHTS = ("ema.safetensors", "ae.safetensors", "sub/config.json")
MERGED = (*WEIGHTS, "MERGED.json")  # the record last


class Run:
    """A results folder with sealed saves."""

    def __init__(self, root: Path) -> None:
        self.results, self.place = root, Place(str(root / "checkpoints"), str(root / "kept"))
        for name in ("checkpoints", "kept"):
            (root / name).mkdir()

    def save(self, step: int, names: tuple[str, ...] = saves.FILES, sealed: bool = True) -> Path:
        folder = Path(self.place.folder(step))
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(saves.content(name, step))
        if sealed:
            seal.seal(self.place, step, str(folder), print)
        return folder

    def merge(self, step: int) -> Path:
        """A merged model, as the merge leaves it."""
        folder = self.results / f"models/{step:07d}"
        (folder / "sub").mkdir(parents=True)
        for name in WEIGHTS:
            (folder / name).write_bytes(saves.content("ema.safetensors", step))
            (folder / name).chmod(0o600)
        size = (folder / "ema.safetensors").stat().st_size
        made = Made(step, 4, 8.0, "all", HEX, HEX, 1, 0, 0.0, 1, size)
        (folder / "MERGED.json").write_text(json.dumps(wire.to_dict(made)))
        return folder

    def offer(self, what: str = "ema", step: int = -1) -> Offer:
        return offers.offer(self.place, str(self.results), what, step, WEIGHTS)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def names(offer: Offer) -> tuple[str, ...]:
    return tuple(one.name for one in offer.files)


@pytest.mark.parametrize(("what", "name"), [("ema", "ema.safetensors"), ("model", "model.safetensors")])
def test_the_newest_model_is_offered_with_its_digest(run: Run, what: str, name: str) -> None:
    run.save(20)
    folder = run.save(40)
    offer = run.offer(what)
    content = (folder / name).read_bytes()
    assert offer.files == (File(name, len(content), sha256(content).hexdigest()),)
    assert (offer.step, offer.sealed, offer.linked) == (40, True, False)
    assert offers.checked(offer, what, -1, 10**6) == offer


def test_a_digest_that_the_seal_lacked_is_in_it_from_then_on_and_no_other(run: Run) -> None:
    run.save(20)
    run.offer("ema")
    manifest = seal.read_manifest(run.place, 20)
    assert manifest is not None
    assert [name for name, entry in manifest["files"].items() if entry.get("sha256")] == ["ema.safetensors"]


def test_a_dry_run_changes_neither_seal_nor_modes(run: Run) -> None:
    folder = run.save(20)
    (folder / "ema.safetensors").chmod(0o600)
    before = Path(run.place.manifest(20)).read_bytes()
    dry = offers.offer(run.place, str(run.results), "ema", fill=False)
    assert Path(run.place.manifest(20)).read_bytes() == before
    assert (folder / "ema.safetensors").stat().st_mode & 0o777 == 0o600
    assert dry == run.offer("ema")


def test_the_whole_checkpoint_is_all_that_the_seal_names(run: Run) -> None:
    run.save(20)
    offer = run.offer("checkpoint")
    assert set(names(offer)) == set(saves.FILES)
    assert offers.checked(offer, "checkpoint", 20, 0) == offer


def test_readers_may_read_what_safetensors_has_closed(run: Run) -> None:
    """safetensors 0.8 makes a file with 0600, whatever the umask is."""
    folder = run.save(20, sealed=False)
    for path in folder.iterdir():
        path.chmod(0o600)
    seal.seal(run.place, 20, str(folder), print)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o640}
    for path in folder.iterdir():
        path.chmod(0o600)
    run.offer("ema")
    assert (folder / "ema.safetensors").stat().st_mode & 0o777 == 0o640


def test_adapters_are_offered_for_a_model(run: Run) -> None:
    run.save(20, saves.LORA)
    assert names(run.offer("ema")) == names(run.offer("model")) == ("adapter.safetensors",)
    assert set(names(run.offer("checkpoint"))) == set(saves.LORA)
    assert offers.checked(run.offer("ema"), "ema", -1, 0).step == 20


def test_adapters_that_were_merged_are_offered_as_the_whole_model(run: Run) -> None:
    for step in (20, 40):
        run.save(step, saves.LORA)
    folder = run.merge(20)
    assert names(run.offer("ema")) == ("adapter.safetensors",), "the newest step has no merged model"
    assert run.offer("ema", 20) == run.offer("merged") == run.offer("merged", 20)
    offer = run.offer("merged")
    assert (offer.step, offer.merged, names(offer)) == (20, True, MERGED)
    assert offer.files[1].sha256 == sha256((folder / "ae.safetensors").read_bytes()).hexdigest()
    assert (folder / "ema.safetensors").stat().st_mode & 0o777 == 0o640, "readers may read it"
    assert names(run.offer("model", 20)) == ("adapter.safetensors",)
    for what in ("ema", "merged"):
        assert offers.checked(offer, what, 20, 10_000, WEIGHTS) == offer


@pytest.mark.parametrize(("merged", "step"), [((), -1), ((20,), 40)])
def test_where_nothing_is_merged_the_way_to_it_is_named(run: Run, merged: tuple[int, ...], step: int) -> None:
    run.save(40, saves.LORA)
    for one in merged:
        run.merge(one)
    with pytest.raises(FleetError, match="no merged model" if step < 0 else "step 40 is not merged") as caught:
        run.offer("merged", step)
    assert (", ".join(map(str, merged)) or "no merged model") in caught.value.found
    assert "playbooks/merge.yml" in caught.value.remedy
    assert ("training_merge_step=40" in caught.value.remedy) is (step == 40)


@pytest.mark.parametrize("how", ["absent", "link", "cut"])
def test_a_merged_model_that_is_not_whole_is_not_offered(run: Run, how: str) -> None:
    path = run.merge(20) / "ema.safetensors"
    content = path.read_bytes()
    path.unlink()
    if how == "link":
        path.symlink_to(run.merge(40) / "ema.safetensors")
    if how == "cut":
        path.write_bytes(content[:-1])
    with pytest.raises(FleetError, match="not whole") as caught:
        run.offer("merged", 20)
    assert "ema.safetensors" in caught.value.found


def test_an_older_model_is_offered_without_its_state_and_a_whole_one_from_its_links(run: Run) -> None:
    folder = run.save(20)
    run.save(40)
    for path in folder.glob("*.pt"):
        path.unlink()
    assert not run.offer("ema", 20).linked or run.offer("ema", 20).step == 20
    whole = run.offer("checkpoint", 20)
    assert whole.linked
    assert set(names(whole)) == set(saves.FILES)


def test_a_checkpoint_without_a_seal_is_offered_as_it_is(run: Run) -> None:
    folder = run.save(20, sealed=False)
    offer = run.offer("model")
    assert not offer.sealed
    assert offer.files[0].sha256 == sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize(("step", "said"), [(-1, "there is no whole checkpoint"), (33, "step 33 cannot be fetched")])
def test_what_is_not_there_is_refused_with_what_is(run: Run, step: int, said: str) -> None:
    if step > 0:
        run.save(20)
    with pytest.raises(FleetError, match=said) as caught:
        run.offer("ema", step)
    assert ("20" if step > 0 else "none yet") in caught.value.expected


def test_a_file_that_was_changed_after_its_seal_is_not_offered(run: Run) -> None:
    folder = run.save(20)
    content = bytearray((folder / "ema.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "ema.safetensors").unlink()
    (folder / "ema.safetensors").write_bytes(content)
    offer = run.offer("ema")
    assert offer.linked, "the kept link has the sealed content"
    (Path(run.place.links(20)) / "ema.safetensors").write_bytes(content)
    with pytest.raises(FleetError):
        run.offer("ema")


def test_logs_are_offered_as_they_are_now_and_no_link_is_followed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("step\n")
    (tmp_path / "losses.csv").symlink_to("/etc/hostname")
    offer = run.offer("logs")
    assert offer == Offer(logs=(File("log.txt", 5, sha256(b"step\n").hexdigest()),))
    assert offers.checked(offer, "logs", -1, 0) == offer


def test_a_log_that_is_too_long_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "LOG_BYTES", 5)
    (tmp_path / "log.txt").write_text("steps\n")
    (tmp_path / "losses.csv").write_text("step\n")
    offer = run.offer("logs")
    assert ([one.name for one in offer.logs], offer.left_out) == (["losses.csv"], ("log.txt",))
    assert offers.checked(offer, "logs", -1, 0) == offer


GOOD = Offer(40, files=(File("ema.safetensors", 600, HEX),), logs=(File("log.txt", 5, HEX),))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"step": 20}, id="another step than was asked for"),
        pytest.param({"step": 10**7}, id="a step that no trainer writes"),
        pytest.param({"files": (File("../../.ssh/authorized_keys", 6, HEX),)}, id="a path for a name"),
        pytest.param({"files": (File("model.safetensors", 600, HEX),)}, id="a file that was not asked for"),
        pytest.param({"files": ()}, id="no file"),
        pytest.param({"files": (*GOOD.files, *GOOD.files)}, id="a file twice"),
        pytest.param({"files": (File("ema.safetensors", 10**9, HEX),)}, id="more than the model can have"),
        pytest.param({"files": (File("ema.safetensors", -1, HEX),)}, id="less than nothing"),
        pytest.param({"files": (File("ema.safetensors", 600, "\x1b[31m"),)}, id="no digest"),
        pytest.param({"logs": (File("../log.txt", 5, HEX),)}, id="a path for a log"),
        pytest.param({"logs": (*GOOD.logs, *GOOD.logs)}, id="a log twice"),
        pytest.param({"logs": (File("log.txt", (256 << 20) + 1, HEX),)}, id="a log without end"),
        pytest.param({"left_out": ("\x1b[31m",)}, id="another name for a log that is left out"),
    ],
)
def test_an_offer_that_was_not_asked_for_is_refused(change: dict[str, Any]) -> None:
    assert offers.checked(GOOD, "ema", 40, 10_000) == GOOD
    with pytest.raises(FleetError) as caught:
        offers.checked(replace(GOOD, **change), "ema", 40, 10_000)
    assert caught.value.code == "HOST_ANSWER_MALFORMED"
    assert "\x1b" not in str(caught.value)


MODEL = Offer(40, files=tuple(File(name, 600, HEX) for name in MERGED), merged=True)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        pytest.param({}, "model", id="where adapters were asked for"),
        pytest.param({}, "checkpoint", id="where a checkpoint was asked for"),
        pytest.param({"merged": False}, "merged", id="files of no merged model"),
        pytest.param({"files": MODEL.files[1:]}, "merged", id="a file less"),
        pytest.param({"files": (*MODEL.files, File("x.py", 6, HEX))}, "merged", id="a file that its base has not"),
        pytest.param({"files": (File("../x", 6, HEX), *MODEL.files[1:])}, "merged", id="a path for a name"),
        pytest.param({"files": (replace(MODEL.files[0], size=10_001), *MODEL.files[1:])}, "merged", id="too large"),
        pytest.param({"step": 20}, "merged", id="another step"),
    ],
)
def test_a_merged_model_has_the_files_of_its_base(change: dict[str, Any], what: str) -> None:
    assert offers.checked(MODEL, "merged", 40, 10_000, WEIGHTS) == MODEL
    with pytest.raises(FleetError):
        offers.checked(replace(MODEL, **change), what, 40, 10_000, WEIGHTS)


def test_a_base_names_no_file_outside_its_folder() -> None:
    assert offers.names_of_merged(["a", "../b", "/c", "a", "d/e"]) == ("a", "d/e", "MERGED.json")


@pytest.mark.parametrize("files", [(), (File("scheduler.pt", 1, HEX), File("scheduler.pt", 2, HEX))])
def test_a_checkpoint_has_files_and_each_once(files: tuple[File, ...]) -> None:
    with pytest.raises(FleetError, match="the files"):
        offers.checked(Offer(40, files=files), "checkpoint", 40, 0)


def test_all_files_together_stay_within_the_size_of_a_checkpoint() -> None:
    many = tuple(File(f"optimizer.{index:05d}-of-00010.pt", 2_000, HEX) for index in range(10))
    with pytest.raises(FleetError, match="20000 bytes in all"):
        offers.checked(Offer(40, files=many), "checkpoint", 40, 10_000)
    assert offers.checked(Offer(40, files=many), "checkpoint", 40, 20_000).files == many


def test_logs_bring_no_checkpoint_with_them() -> None:
    with pytest.raises(FleetError):
        offers.checked(replace(GOOD, step=-1), "logs", -1, 0)
