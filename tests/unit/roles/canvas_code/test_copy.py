"""The code as a copy of a folder on the controller: edits are kept, and an interruption at any write is repaired."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import apply_copy as code_copy_apply
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import copy as code_copy
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import decide as canvas_code_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import observe as canvas_code
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import record as code_record
from ansible_collections.canvas.fleet.plugins.module_utils.system import ownership
from ansible_collections.canvas.fleet.plugins.module_utils.system.ownership import Owner
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import known as upstream
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import registration
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from tests.unit.support import run_texts
from tests.unit.support.cuts import CutError, cut_at
from tests.unit.support.run_settings import CODE, topology

INFO = "BAGEL-Canvas/data/dataset_info.py"
TRAINER = "BAGEL-Canvas/train/pretrain_unified_navit.py"
UTIL = "BAGEL-Canvas/util.py"
ENTRY = {"data_dir": "/d", "num_files": 1, "parquet_info_path": "/i", "num_total_samples": 3}
EXCLUDE = [".git", "__pycache__", "*.pyc"]
VERSIONS: list[dict[str, str]] = [
    {INFO: CODE, TRAINER: "print(1)\n", UTIL: "x = 1\n", "README.md": "hi\n"},
    {INFO: CODE, TRAINER: "print(2)\n", UTIL: "x = 1\n", "README.md": "hi\n", "BAGEL-Canvas/new.py": "n\n"},
    {INFO: "# new\n" + CODE, TRAINER: "print(3)\n", "README.md": "hi\n"},
]


@pytest.fixture(autouse=True)
def owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "owner_of", lambda user, group: Owner(os.getuid(), os.getgid()))
    monkeypatch.setattr(upstream, "FILES", {})  # what is known of the real code is test_code_patches' subject


def source(root: Path, version: int) -> Path:
    folder = root / f"controller{version}"
    for name, text in VERSIONS[version].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / ".git").mkdir(exist_ok=True)
    (folder / ".git/config").write_text("not copied")
    (folder / "BAGEL-Canvas/x.pyc").write_text("not copied")
    return folder


def settings(root: Path, version: int, **changes: Any) -> dict[str, Any]:
    folder = source(root, version)
    values = {
        "fleet_user": "u",
        "fleet_group": "u",
        "fleet_state_dir": f"{root}/state",
        "canvas_code_source": "controller",
        "canvas_code_commit": "0" * 40,
        "canvas_code_controller_path": str(folder),
        "canvas_code_controller_digest": code_copy.digest(code_copy.scan(str(folder), EXCLUDE)),
        "canvas_code_checkout": f"{root}/host/MathCanvas",
        "canvas_code_dir": f"{root}/host/MathCanvas/BAGEL-Canvas",
        "canvas_code_local_edits": "keep",
        "dataset_group": "interleave_reasoning",
        "dataset_name": "blockmoving_train",
        "run_config_yaml": f"{root}/host/MathCanvas/BAGEL-Canvas/data/configs/blockmoving_sft.yaml",
    }
    return {**values, **changes}


def converge(root: Path, version: int, *, check: bool = False, **changes: Any) -> dict[str, Any]:
    """As the action does it: ask, and send only when asked for."""
    told, folder = settings(root, version, **changes), str(source(root, version))
    manifest = code_copy.scan(folder, EXCLUDE)
    first = code_copy_apply.converge(told, manifest, "", check=check)
    if not first["needs_archive"]:
        return first
    packed = root / "code.tar.gz"
    packed.write_bytes(code_copy.pack(folder, manifest))
    return code_copy_apply.converge(told, manifest, str(packed), check=check)


def plan(root: Path, version: int, **changes: Any) -> Any:
    told = settings(root, version, **changes)
    return canvas_code_plan.decide(canvas_code.observe(told), told, topology())


def host(root: Path) -> Path:
    return root / "host/MathCanvas"


def texts(root: Path) -> dict[str, str]:
    found = {str(path.relative_to(host(root))): path for path in host(root).rglob("*") if path.is_file()}
    return {name: path.read_text() for name, path in found.items() if name != ".canvas-fleet.json"}


def register(root: Path) -> None:
    path = host(root) / INFO
    path.write_bytes(run_texts.register(path.read_bytes(), "interleave_reasoning", "blockmoving_train", ENTRY))


def test_copies_the_folder_and_is_then_in_sync(tmp_path: Path) -> None:
    assert plan(tmp_path, 0).reasons == (f"not there: a copy of the controller's {tmp_path}/controller0",)
    assert converge(tmp_path, 0)["changed"]
    assert texts(tmp_path) == VERSIONS[0]
    assert (plan(tmp_path, 0).reasons, plan(tmp_path, 0).findings) == ((), ())
    again = converge(tmp_path, 0)
    assert (again["changed"], again["needs_archive"]) == (False, False)


def test_a_dry_run_touches_nothing(tmp_path: Path) -> None:
    assert converge(tmp_path, 0, check=True)["changed"]
    assert not (tmp_path / "host").exists()


def test_another_version_writes_removes_and_keeps(tmp_path: Path) -> None:
    converge(tmp_path, 0)
    register(tmp_path)
    (host(tmp_path) / "README.md").write_text("mine\n")
    report = converge(tmp_path, 2)
    now = texts(tmp_path)
    assert report["edits"] == ["README.md"]
    assert (now["README.md"], now[TRAINER], UTIL in now) == ("mine\n", "print(3)\n", False)
    source_now = now[INFO].encode()
    assert registration.lookup(source_now, "interleave_reasoning", "blockmoving_train").entry == ENTRY
    assert registration.unregister(source_now).decode() == VERSIONS[2][INFO]
    assert [found.found for found in plan(tmp_path, 2).findings] == ["README.md"]


def test_the_registration_is_no_edit(tmp_path: Path) -> None:
    converge(tmp_path, 0)
    register(tmp_path)
    assert (plan(tmp_path, 0).reasons, plan(tmp_path, 0).findings) == ((), ())
    (host(tmp_path) / INFO).write_text("# mine\n" + (host(tmp_path) / INFO).read_text())
    assert plan(tmp_path, 0).findings[0].found == INFO


WAYS = {
    "a file changed": (TRAINER, "mine\n", 1),
    "a file that the new version removes": (UTIL, "mine\n", 2),
    "a file where a new one comes": ("BAGEL-Canvas/new.py", "mine\n", 1),
}


@pytest.mark.parametrize(("name", "text", "version"), WAYS.values(), ids=WAYS.keys())
def test_edits_in_the_way_refuse_or_are_kept_beside(tmp_path: Path, name: str, text: str, version: int) -> None:
    converge(tmp_path, 0)
    (host(tmp_path) / name).write_text(text)
    before = texts(tmp_path)
    with pytest.raises(FleetError, match=r"CODE_EDITS_IN_THE_WAY.*" + name):
        converge(tmp_path, version)
    assert texts(tmp_path) == before
    report = converge(tmp_path, version, canvas_code_local_edits="stash")
    assert Path(report["stashed"]).read_text() == text
    assert texts(tmp_path).get(name) == VERSIONS[version].get(name)
    assert plan(tmp_path, version).in_sync


def test_a_folder_of_other_files_is_not_touched(tmp_path: Path) -> None:
    host(tmp_path).mkdir(parents=True)
    (host(tmp_path) / "mine.txt").write_text("mine")
    assert [found.code for found in plan(tmp_path, 0).findings] == ["CODE_FOLDER_FOREIGN"]
    with pytest.raises(FleetError, match="CODE_FOLDER_FOREIGN"):
        converge(tmp_path, 0)
    assert texts(tmp_path) == {"mine.txt": "mine"}


def test_a_controller_folder_without_the_trainer_is_told(tmp_path: Path) -> None:
    found = plan(tmp_path, 0, canvas_code_controller_digest="").findings
    assert [(one.code, one.variable) for one in found] == [("VARIABLE_INVALID", "canvas_code_controller_path")]


def test_finds_the_trainer_in_the_repository_or_in_its_folder(tmp_path: Path) -> None:
    folder = str(source(tmp_path, 0))
    assert code_copy.inner(folder) == "BAGEL-Canvas"
    assert code_copy.inner(f"{folder}/BAGEL-Canvas") == ""
    assert code_copy.inner(str(tmp_path)) is None


def test_a_script_stays_executable(tmp_path: Path) -> None:
    (source(tmp_path, 0) / TRAINER).chmod(0o755)
    converge(tmp_path, 0)
    assert (host(tmp_path) / TRAINER).stat().st_mode & 0o777 == 0o755
    assert (host(tmp_path) / UTIL).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("stop_at", range(8))
@pytest.mark.parametrize(("first", "goal"), [(None, 0), (0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_cut_at_any_write_is_mended_by_any_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int, first: int | None, goal: int, after: int
) -> None:
    if first is not None:
        converge(tmp_path, first)
        register(tmp_path)
    with monkeypatch.context() as power:
        cut_at(power, stop_at)
        with suppress(CutError):
            converge(tmp_path, goal)
    report = converge(tmp_path, after)
    assert report["edits"] == []
    now = texts(tmp_path)
    now[INFO] = registration.unregister(now[INFO].encode()).decode()
    assert {name: text for name, text in now.items() if ".canvas-fleet" not in name} == VERSIONS[after]
    assert (plan(tmp_path, after).reasons, plan(tmp_path, after).findings) == ((), ())


@bounds(deadline=None)
@given(names=st.dictionaries(st.from_regex(r"[a-z]{1,3}\.py", fullmatch=True), st.binary(max_size=4), max_size=5))
def test_law_a_manifest_changes_exactly_when_names_or_bytes_do(
    names: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    for name, data in names.items():
        (one / name).write_bytes(data)
    for name, data in reversed(names.items()):
        (other / name).write_bytes(data)
    before = code_copy.digest(code_copy.scan(str(one), EXCLUDE))
    assert code_copy.digest(code_copy.scan(str(other), EXCLUDE)) == before
    (other / "zzzz.py").write_bytes(b"")
    assert code_copy.digest(code_copy.scan(str(other), EXCLUDE)) != before


@pytest.mark.parametrize("where", ["files", "pending"])
@pytest.mark.parametrize("outside", ["{root}/precious", "../../precious", "BAGEL-Canvas/../../../precious"])
def test_a_path_in_the_record_that_leads_out_of_the_copy_is_not_believed(
    tmp_path: Path, where: str, outside: str
) -> None:
    """Version 0.1 let the copy's owner write the record, and root removed what it named."""
    converge(tmp_path, 0)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    record = Path(code_record.path(settings(tmp_path, 0), "copy"))
    note = json.loads(record.read_text())
    digest = hashlib.sha256(b"precious").hexdigest()
    entry = [digest, 8, precious.stat().st_mtime_ns] if where == "files" else [digest]
    note[where][outside.format(root=tmp_path)] = entry
    record.write_text(json.dumps(note))
    converge(tmp_path, 1)
    assert precious.read_text() == "precious"


def test_the_record_of_version_0_1_is_read_once_and_becomes_roots(tmp_path: Path) -> None:
    converge(tmp_path, 0)
    told = settings(tmp_path, 0)
    ours, old = Path(code_record.path(told, "copy")), Path(code_record.former(told, "copy"))
    assert (ours.exists(), old.exists()) == (True, False)
    ours.rename(old)
    found = plan(tmp_path, 0)
    assert found.reasons == ("its record is one that the account can write",)
    assert found.values["moving"] is False
    before = texts(tmp_path)
    converge(tmp_path, 0)
    assert (ours.exists(), old.exists(), texts(tmp_path) == before) == (True, False, True)
    assert plan(tmp_path, 0).in_sync


def test_a_record_that_the_account_lays_beside_roots_own_is_not_read(tmp_path: Path) -> None:
    converge(tmp_path, 0)
    told = settings(tmp_path, 0)
    Path(code_record.former(told, "copy")).write_text(json.dumps({"digest": "evil", "files": {}, "pending": {}}))
    assert code_copy.record(told)["digest"] == told["canvas_code_controller_digest"]
    assert plan(tmp_path, 0).in_sync


TRAINER = "BAGEL-Canvas/train/pretrain_unified_navit.py"


@pytest.mark.parametrize("part", ["files", "pending"])
@pytest.mark.parametrize(
    "entry", [[], "", {}, None, [None], [{}, 1, 2], [["x"], 1, 2], [1, 2, 3], ["x", 1], 5, "ab", {"a": 1}]
)
def test_an_entry_of_the_accounts_record_in_another_form_is_dropped(tmp_path: Path, part: str, entry: Any) -> None:
    converge(tmp_path, 0)
    told = settings(tmp_path, 1)
    record = Path(code_record.path(told, "copy"))
    note = json.loads(record.read_text())
    note[part][TRAINER] = entry
    record.unlink()
    Path(code_record.former(told, "copy")).write_text(json.dumps(note))
    plan(tmp_path, 1)
    converge(tmp_path, 1, canvas_code_local_edits="stash")
    assert TRAINER in code_copy.record(told)["files"]
