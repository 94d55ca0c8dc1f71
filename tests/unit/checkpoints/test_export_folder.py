"""From a checkpoint to a model folder for use: whole under its name, or not there; nothing changes it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import exports, rotation
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.system import files, folders, shares

from tests.unit.support.exported import CARD, NAMES, Run, weights
from tests.unit.support.guarded import killed_before
from tests.unit.support.saves import Killed

ALL = sorted([*NAMES, "README.md", "EXPORTED.json", "SHA256SUMS"])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def no_sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_paths: str) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(files, "link", refuse)
    monkeypatch.setattr(shares, "clone", refuse)


def sums(folder: Path) -> dict[str, str]:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    return dict(reversed(line.split("  ", 1)) for line in lines)


def right(run: Run, name: str, source: Path) -> bool:
    folder = run.made(name)
    found = {path: sha256((folder / path).read_bytes()).hexdigest() for path in sums(folder)}
    return sorted(os.listdir(folder)) == ALL and found == sums(folder) and weights(folder) == source.read_bytes()


def checkpoint(run: Run, step: int, kind: str = "ema") -> Path:
    return Path(run.place.folder(step)) / f"{kind}.safetensors"


def test_the_newest_becomes_a_model_folder_with_its_card_and_its_sums(run: Run) -> None:
    done = run.make()
    assert done == {
        "changed": True, "name": "0000040-ema", "path": str(run.made("0000040-ema")), "step": 40, "weights": "ema",
        "bytes": checkpoint(run, 40).stat().st_size, "shared": True, "edited": [],
    }  # fmt: skip
    assert right(run, "0000040-ema", checkpoint(run, 40))
    assert (run.made("0000040-ema") / "README.md").read_text() == CARD
    assert sorted(os.listdir(run.out / "exports")) == [".lock", "0000040-ema"]
    assert exports.exported(str(run.out)) == ("0000040-ema",)
    record = json.loads((run.made("0000040-ema") / "EXPORTED.json").read_text())
    assert (record["step"], record["kind"]) == (40, "ema")
    assert record["sha256"] == sums(run.made("0000040-ema"))["ema.safetensors"]


def test_the_other_weights_get_the_same_name_and_a_folder_of_their_own(run: Run) -> None:
    run.make(kind="ema")
    assert run.make(kind="model", step=20)["name"] == "0000020-model"
    assert right(run, "0000020-model", checkpoint(run, 20, "model"))
    assert exports.chosen(str(run.out), -1, "auto") == "0000040-ema"
    assert exports.chosen(str(run.out), -1, "model") == "0000020-model"
    assert exports.chosen(str(run.out), 20, "ema") == ""


@pytest.mark.parametrize(("decay", "kind"), [(0.0, "model"), (0.9999, "model"), (0.9, "ema")])
def test_auto_takes_the_file_that_is_the_model(run: Run, decay: float, kind: str) -> None:
    assert run.make(decay=decay)["weights"] == kind


def test_a_merged_model_is_what_adapters_give(run: Run) -> None:
    run.adapters(60, merge=True)
    done = run.make()
    assert (done["step"], done["weights"]) == (60, "merged")
    assert right(run, "0000060-merged", run.out / "models/0000060/ema.safetensors")


def test_no_second_copy_is_made_and_a_rotation_does_not_break_it(run: Run) -> None:
    run.make(step=20)
    run.save(60)
    before = weights(run.made("0000020-ema"))
    assert (run.made("0000020-ema") / "ema.safetensors").samefile(checkpoint(run, 20))
    for step in (20, 40, 60):
        run.seal(step)
    rotation.rotate(run.place, 60, 2, 0, lambda _text: None)
    assert not checkpoint(run, 20).exists()
    assert weights(run.made("0000020-ema")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
@pytest.mark.parametrize("exported", [False, True], ids=["a checkpoint alone", "one that is exported"])
def test_nobody_writes_to_an_export_by_the_checkpoints_name(run: Run, exported: bool) -> None:
    """The trainer saves in place: save_file truncates the file of that name. Its account owns the file."""
    if exported:
        run.make()
    path = checkpoint(run, 40)
    before = path.read_bytes()
    os.chown(path, 65534, 65534)
    # The working directory is open already, so no folder above it stops the program.
    program = "import os, sys; os.setgid(65534); os.setuid(65534); open(sys.argv[1], 'wb').write(b'x')"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, path.name], cwd=path.parent, capture_output=True, text=True
    )
    assert ("PermissionError" in done.stderr, path.read_bytes() == before) == (exported, exported)


def test_on_another_disk_it_is_a_copy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    no_sharing(monkeypatch)
    assert run.make()["shared"] is False
    assert right(run, "0000040-ema", checkpoint(run, 40))
    checkpoint(run, 40).write_bytes(b"x")
    assert weights(run.made("0000040-ema")) != b"x"


def test_a_copy_is_not_begun_on_a_disk_too_small_for_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    no_sharing(monkeypatch)
    monkeypatch.setattr(folders, "free", lambda _path: (64 << 20) + 100)
    with pytest.raises(FleetError, match="too small for the export"):
        run.make()
    assert exports.exported(str(run.out)) == ()


def test_a_second_time_there_is_nothing_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.make()
    folder = run.made("0000040-ema").stat().st_ino
    assert run.make()["changed"] is False
    assert run.made("0000040-ema").stat().st_ino == folder


def test_the_weights_are_not_read_again_for_another_card(run: Run) -> None:
    run.seal(40)
    run.make()
    heard: list[str] = []
    progress = lambda _done, _total=0, _unit="", what="": heard.append(what)  # noqa: E731
    assert run.make("# Another card\n", progress)["changed"] is True  # type: ignore[arg-type]
    assert (run.made("0000040-ema") / "README.md").read_text() == "# Another card\n"
    assert not any("safetensors" in what for what in heard)
    assert right(run, "0000040-ema", checkpoint(run, 40))


def test_what_a_person_has_edited_stays(run: Run) -> None:
    run.make()
    folder = run.made("0000040-ema")
    (folder / "README.md").write_text("mine\n")
    (folder / "vocab.json").write_text("mine, too\n")
    for card in (CARD, "# Another card\n", CARD):
        assert sorted(run.make(card)["edited"]) == ["README.md", "vocab.json"]
        assert (folder / "README.md").read_text() == "mine\n"
        assert (folder / "vocab.json").read_text() == "mine, too\n"
        assert right(run, "0000040-ema", checkpoint(run, 40))
    assert run.make()["changed"] is False


@pytest.mark.parametrize("what", ["the same step was trained again", "the file was lost", "the sums were lost"])
def test_what_is_no_longer_right_is_made_anew(run: Run, what: str) -> None:
    run.make()
    if what == "the same step was trained again":
        run.save(40, seed=9)
    else:
        (run.made("0000040-ema") / ("ema.safetensors" if "file" in what else "SHA256SUMS")).unlink()
    assert run.make()["changed"] is True
    assert right(run, "0000040-ema", checkpoint(run, 40))


def test_an_export_that_is_killed_anywhere_begins_anew(run: Run) -> None:
    run.make("# An older card\n")
    call = 0
    while True:
        try:
            with killed_before(call):
                run.make()
            break
        except Killed:
            assert not run.made("0000040-ema").exists() or right(run, "0000040-ema", checkpoint(run, 40))
        call += 1
    assert call > 15
    assert run.make()["changed"] is False
    assert right(run, "0000040-ema", checkpoint(run, 40))
    assert sorted(os.listdir(run.out / "exports")) == [".lock", "0000040-ema"]


def test_who_comes_second_waits(run: Run) -> None:
    (run.out / "exports").mkdir(parents=True)
    heard: list[str] = []
    waits = threading.Event()
    done: list[object] = []

    def tell(_done: int, _total: int = 0, _unit: str = "", what: str = "") -> None:
        heard.append(what)
        waits.set()

    with files.locked(run.out / "exports/.lock"):
        second = threading.Thread(target=lambda: done.append(run.make(progress=tell)))  # type: ignore[arg-type]
        second.start()
        assert waits.wait(20)
        assert not run.made("0000040-ema").exists()
    second.join(20)
    assert (heard[0], bool(done)) == ("waits for another export", True)


def test_leftovers_are_what_exports_have_made_alone(run: Run) -> None:
    run.make()
    (run.made(".new-0000020-ema")).mkdir()
    (run.made("mine")).mkdir()
    found = [os.path.basename(path) for path in exports.leftovers(str(run.out))]
    assert sorted(found) == [".lock", ".new-0000020-ema", "0000040-ema"]
