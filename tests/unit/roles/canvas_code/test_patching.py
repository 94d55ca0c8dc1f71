"""The patches of training_profile in a real checkout and in a copy, and what is known of the upstream code."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.findings.catalogue import CATALOGUE
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import apply as code_apply
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import apply_copy as code_copy_apply
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import copy as code_copy
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import decide as canvas_code_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import observe as canvas_code
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import patch_findings, patching
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code.patched import Code
from ansible_collections.canvas.fleet.plugins.module_utils.system import files, ownership
from ansible_collections.canvas.fleet.plugins.module_utils.system.digests import sha256
from ansible_collections.canvas.fleet.plugins.module_utils.system.ownership import Owner
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import known as upstream
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import patch_table, registration
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.known import File
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.patch import Edit, Patch

from tests.unit.support import run_texts
from tests.unit.support.canvas_repo import ENTRY, INFO, Upstream, checkout, git, settings
from tests.unit.support.run_settings import CODE, topology

FSDP, MAIN = "train/fsdp.py", "train/main.py"
BEFORE = {FSDP: "a = 1\nb = 2\n", MAIN: "m = 1\n"}
AFTER = {FSDP: "a = 1\nb = 3  # canvas-fleet\n", MAIN: "m = 2  # canvas-fleet\n"}
TABLE = tuple(
    Patch("training_profile: frozen", path, ((sha256(BEFORE[path].encode()), sha256(AFTER[path].encode())),), (edit,))
    for path, edit in {
        FSDP: Edit("b = 2\n", "b = 3  # canvas-fleet\n"),
        MAIN: Edit("m = 1\n", "m = 2  # canvas-fleet\n"),
    }.items()
)

LEANER = {BEFORE[FSDP]: "l = 1  # canvas-fleet\nb = 2\n", AFTER[FSDP]: "l = 1  # canvas-fleet\nb = 3  # canvas-fleet\n"}
LEAN = (
    Patch(
        "canvas_code_lean",
        FSDP,
        tuple((sha256(before.encode()), sha256(after.encode())) for before, after in LEANER.items()),
        (Edit("a = 1\n", "l = 1  # canvas-fleet\n"),),
    ),
)


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "owner_of", lambda user, group: Owner(os.getuid(), os.getgid()))
    monkeypatch.setattr(patch_table, "PROFILES", {"full": (), "frozen": TABLE})
    monkeypatch.setattr(patch_table, "WITHOUT_EMA", ())
    monkeypatch.setattr(patch_table, "OPTIMIZER", ())
    monkeypatch.setattr(patch_table, "LEAN", {"full": LEAN, "frozen": LEAN})
    monkeypatch.setattr(upstream, "FILES", {FSDP: File("SHARDS_MISMATCH", sha256(BEFORE[FSDP].encode()))})


class Repo(Upstream):
    """Two commits with the files that are patched, alike in both, and a third in which one of them differs."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        write(self.path / "BAGEL-Canvas", BEFORE)
        self.one = self.commit("one")
        self.two = self.commit("two")
        (self.path / "BAGEL-Canvas" / MAIN).write_text("m = 9\n")
        self.other = self.commit("other")

    def commit(self, text: str) -> str:
        (self.path / "BAGEL-Canvas/beside.py").write_text(f"# {text}\n")
        git(self.path, "add", "-A")
        git(self.path, "commit", "-qm", text)
        return git(self.path, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def converge(root: Path, commit: str, profile: str, *, check: bool = False, **changes: Any) -> dict[str, Any]:
    return code_apply.converge(settings(root, commit, training_profile=profile, **changes), check=check)


def plan(root: Path, commit: str, profile: str, **changes: Any) -> Any:
    told = settings(root, commit, training_profile=profile, **changes)
    return canvas_code_plan.decide(canvas_code.observe(told), told, topology())


def texts(root: Path) -> dict[str, str]:
    return {path: (checkout(root) / "BAGEL-Canvas" / path).read_text() for path in (FSDP, MAIN)}


def test_the_profile_is_put_in_shown_and_taken_back(tmp_path: Path, repo: Repo) -> None:
    converge(tmp_path, repo.one, "full")
    assert texts(tmp_path) == BEFORE
    assert plan(tmp_path, repo.one, "frozen").reasons == tuple(
        f"{path} lacks the patch of training_profile: frozen" for path in (FSDP, MAIN)
    )
    shown = converge(tmp_path, repo.one, "frozen", check=True)
    assert texts(tmp_path) == BEFORE
    done = converge(tmp_path, repo.one, "frozen")
    assert texts(tmp_path) == AFTER
    assert shown["patches"] == done["patches"]
    assert [(one["before"], one["after"]) for one in done["patches"]] == [(BEFORE[p], AFTER[p]) for p in (FSDP, MAIN)]
    assert "+b = 3  # canvas-fleet" in git(checkout(tmp_path), "diff")
    settled = plan(tmp_path, repo.one, "frozen")
    assert (settled.reasons, settled.findings) == ((), ())
    assert settled.summary == f"commit {repo.one[:8]}, 2 files patched"
    assert not converge(tmp_path, repo.one, "frozen")["changed"]
    assert plan(tmp_path, repo.one, "full").reasons == tuple(
        f"{path} has the patch of training_profile: frozen, but should not" for path in (FSDP, MAIN)
    )
    assert converge(tmp_path, repo.one, "full")["changed"]
    assert texts(tmp_path) == BEFORE
    assert not git(checkout(tmp_path), "status", "--porcelain")


def test_two_patches_of_one_file_come_and_go_each_by_its_own_setting(tmp_path: Path, repo: Repo) -> None:
    ways = {
        ("full", True): LEANER[BEFORE[FSDP]],
        ("frozen", True): LEANER[AFTER[FSDP]],
        ("frozen", False): AFTER[FSDP],
        ("full", False): BEFORE[FSDP],
    }
    for profile, lean in [*ways, *reversed(ways)]:
        before = plan(tmp_path, repo.one, profile, canvas_code_lean=lean).reasons
        assert converge(tmp_path, repo.one, profile, canvas_code_lean=lean)["changed"] == bool(before)
        assert texts(tmp_path)[FSDP] == ways[profile, lean]
        settled = plan(tmp_path, repo.one, profile, canvas_code_lean=lean)
        assert (settled.reasons, settled.findings) == ((), ())


@pytest.mark.parametrize(
    ("profile", "lean", "reason"),
    [
        pytest.param("full", True, "has the patch of training_profile: frozen, but should not", id="one too many"),
        pytest.param("frozen", False, "has the patch of canvas_code_lean, but should not", id="the other"),
    ],
)
def test_the_reason_names_the_setting_whose_patch_is_beyond(
    tmp_path: Path, repo: Repo, profile: str, lean: bool, reason: str
) -> None:
    converge(tmp_path, repo.one, "frozen", canvas_code_lean=True)
    assert plan(tmp_path, repo.one, profile, canvas_code_lean=lean).reasons[0] == f"{FSDP} {reason}"


def test_an_unknown_file_is_refused_for_the_lean_patch_with_the_word_that_does_without(
    tmp_path: Path, repo: Repo
) -> None:
    converge(tmp_path, repo.one, "full")
    (checkout(tmp_path) / "BAGEL-Canvas" / FSDP).write_text("a = 1\nb = 2\nmine = 1\n")
    (found,) = [one for one in plan(tmp_path, repo.one, "full", canvas_code_lean=True).findings if one.refuses]
    assert (found.code, found.variable) == ("UPSTREAM_FILE_UNKNOWN", "canvas_code_lean")
    assert found.expected == f"SHA-256 {sha256(BEFORE[FSDP].encode())}"
    assert "canvas_code_lean: false" in CATALOGUE[found.code].remedy
    with pytest.raises(FleetError, match="UPSTREAM_FILE_UNKNOWN"):
        converge(tmp_path, repo.one, "full", canvas_code_lean=True)
    assert not [one for one in plan(tmp_path, repo.one, "full").findings if one.refuses]


def test_a_first_clone_is_patched_in_the_same_run(tmp_path: Path, repo: Repo) -> None:
    assert converge(tmp_path, repo.two, "frozen", check=True)["changed"]
    converge(tmp_path, repo.two, "frozen")
    assert texts(tmp_path) == AFTER


def test_another_commit_comes_and_the_patches_and_the_registration_stay(tmp_path: Path, repo: Repo) -> None:
    converge(tmp_path, repo.one, "frozen")
    info = checkout(tmp_path) / INFO
    info.write_bytes(run_texts.register(info.read_bytes(), "interleave_reasoning", "blockmoving_train", ENTRY))
    converge(tmp_path, repo.two, "frozen")
    assert texts(tmp_path) == AFTER
    assert registration.block(info.read_bytes())
    assert plan(tmp_path, repo.two, "frozen").in_sync


def test_a_commit_that_changes_a_patched_file_comes_clean_and_is_then_refused(tmp_path: Path, repo: Repo) -> None:
    converge(tmp_path, repo.two, "frozen")
    with pytest.raises(FleetError, match=f"UPSTREAM_FILE_UNKNOWN.*{sha256(b'm = 9' + bytes([10]))}"):
        converge(tmp_path, repo.other, "frozen")
    assert texts(tmp_path) == {**BEFORE, MAIN: "m = 9\n"}
    assert [found.code for found in plan(tmp_path, repo.other, "frozen").findings] == ["UPSTREAM_FILE_UNKNOWN"]
    assert plan(tmp_path, repo.other, "full").in_sync


@pytest.mark.parametrize("base", [BEFORE, AFTER], ids=["of the plain file", "of the patched file"])
@pytest.mark.parametrize("target", ["one", "two"], ids=["where it stands", "on the way to another commit"])
def test_a_persons_edit_is_refused_with_its_digest_and_kept(
    tmp_path: Path, repo: Repo, base: dict[str, str], target: str
) -> None:
    converge(tmp_path, repo.one, "frozen" if base == AFTER else "full")
    edited = base[FSDP] + "mine = 1\n"
    (checkout(tmp_path) / "BAGEL-Canvas" / FSDP).write_text(edited)
    wanted = plan(tmp_path, getattr(repo, target), "frozen")
    refusing = [found for found in wanted.findings if found.refuses]
    assert [(found.code, found.variable) for found in refusing] == [("UPSTREAM_FILE_UNKNOWN", "training_profile")]
    assert sha256(edited.encode()) in refusing[0].found
    assert "CODE_LOCAL_EDITS" in [found.code for found in wanted.findings]
    with pytest.raises(FleetError, match="UPSTREAM_FILE_UNKNOWN"):
        converge(tmp_path, getattr(repo, target), "frozen")
    assert texts(tmp_path)[FSDP] == edited


@pytest.mark.parametrize("cut", range(4))
@pytest.mark.parametrize("back", [False, True], ids=["putting in", "taking back"])
def test_a_cut_at_any_write_is_mended(
    tmp_path: Path, repo: Repo, monkeypatch: pytest.MonkeyPatch, cut: int, back: bool
) -> None:
    converge(tmp_path, repo.one, "frozen" if back else "full")
    left, write_file = [cut], files.rewrite

    def dying(*args: Any, **kwargs: Any) -> None:
        if not left[0]:
            raise ConnectionError
        left[0] -= 1
        write_file(*args, **kwargs)

    target = (repo.two, "full" if back else "frozen")
    with monkeypatch.context() as patch:
        patch.setattr(files, "rewrite", dying)
        with suppress(ConnectionError):
            converge(tmp_path, *target)
    converge(tmp_path, *target)
    assert texts(tmp_path) == (BEFORE if back else AFTER)
    assert plan(tmp_path, *target).in_sync


def copied(root: Path, profile: str, named: dict[str, str]) -> tuple[dict[str, Any], dict[str, str], str]:
    folder = root / "controller/BAGEL-Canvas"
    write(folder, {**named, "data/dataset_info.py": CODE, "train/pretrain_unified_navit.py": "pass\n"})
    manifest = code_copy.scan(str(root / "controller"), [])
    archive = root / "code.tar.gz"
    archive.write_bytes(code_copy.pack(str(root / "controller"), manifest))
    told = settings(
        root,
        "",
        canvas_code_source="controller",
        canvas_code_controller_path=str(root / "controller"),
        canvas_code_controller_digest=code_copy.digest(manifest),
        training_profile=profile,
    )
    return told, manifest, str(archive)


def test_a_copy_is_patched_needs_no_archive_for_it_and_takes_it_back(tmp_path: Path) -> None:
    for profile, wanted in (("frozen", AFTER), ("full", BEFORE), ("frozen", AFTER)):
        told, manifest, archive = copied(tmp_path, profile, BEFORE)
        first = not (tmp_path / "host").exists()
        done = code_copy_apply.converge(told, manifest, archive if first else "", check=False)
        assert (done["changed"], done["needs_archive"], done["edits"]) == (True, False, [])
        assert texts(tmp_path) == wanted
        assert canvas_code_plan.decide(canvas_code.observe(told), told, topology()).in_sync
    told, manifest, archive = copied(tmp_path, "frozen", {**BEFORE, "new.py": "n = 1\n"})
    code_copy_apply.converge(told, manifest, archive, check=False)
    assert texts(tmp_path) == AFTER


OTHER = {FSDP: "something else\n"}
KNOWN = {
    "the known files": ({}, {}, []),
    "the known files, patched": ({}, {"training_profile": "frozen"}, []),
    "a changed file": (OTHER, {}, ["UPSTREAM_UNKNOWN"]),
    "a changed file that is to be patched": (
        OTHER,
        {"training_profile": "frozen"},
        ["UPSTREAM_FILE_UNKNOWN", "UPSTREAM_UNKNOWN"],
    ),
}


@pytest.mark.parametrize(("files", "changes", "codes"), KNOWN.values(), ids=KNOWN)
def test_what_is_told_of_the_code(
    tmp_path: Path, files: dict[str, str], changes: dict[str, Any], codes: list[str]
) -> None:
    told, manifest, archive = copied(tmp_path, "full", {**BEFORE, **files})
    code_copy_apply.converge(told, manifest, archive, check=False)
    told |= changes
    seen = canvas_code.observe(told)
    assert [found.code for found in canvas_code_plan.decide(seen, told, topology()).findings] == codes


def test_the_finding_names_the_files_and_the_rules_that_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    digests = {path: file.digests[0] for path, file in upstream.FILES.items()}
    assert upstream.compare(digests).known
    compared = upstream.compare({**digests, "train/train_utils.py": "0" * 64, "data/parquet_utils.py": ""})
    assert compared.differences() == "changed: train/train_utils.py; not there: data/parquet_utils.py"
    assert compared.unsure == ("CHECKPOINTS_FOREIGN_NAME", "DATASET_FOLDER_FOREIGN", "TRAIN_TEST_TOGETHER")
    assert "ROW_GROUPS_STARVE" in compared.holding
    told = patch_findings.findings(Code({**digests, "data/parquet_utils.py": ""}), {}, "ab" * 20)
    assert [found.code for found in told] == ["UPSTREAM_UNKNOWN"]
    assert "commit abababab: not there: data/parquet_utils.py" in told[0].found
    assert "rules that hold: CHECKPOINTS_FOREIGN_NAME" in told[0].expected
    nothing = patch_findings.findings(Code(), {}, "")
    assert nothing[0].found == "the copy: none of the 17 files that the rules rest on is known"
    assert nothing[0].expected.endswith("all rules are in doubt")


@pytest.mark.parametrize("rule", sorted({rule for file in upstream.FILES.values() for rule in file.rules}))
def test_every_rule_is_a_code_of_the_catalogue(rule: str) -> None:
    assert rule in CATALOGUE


def test_a_rule_holds_only_when_all_its_files_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "FILES", {"a": File("ONE BOTH", "1"), "b": File("BOTH", "2", "3")})
    assert upstream.compare({"a": "1", "b": "3"}).holding == ("BOTH", "ONE")
    assert upstream.compare({"a": "1", "b": "x"}).holding == ("ONE",)
    assert upstream.compare({"a": "x", "b": "2"}).holding == ()


@pytest.mark.parametrize(
    ("repo", "codes"),
    [
        pytest.param("https://github.com/ByteDance-Seed/Bagel.git", ["UPSTREAM_NOT_SUPPORTED"], id="Bagel itself"),
        pytest.param("git@github.com:bytedance-seed/BAGEL", ["UPSTREAM_NOT_SUPPORTED"], id="Bagel over ssh"),
        pytest.param("https://github.com/shiwk24/MathCanvas", [], id="MathCanvas"),
    ],
)
def test_another_code_base_is_refused_before_it_is_cloned(tmp_path: Path, repo: str, codes: list[str]) -> None:
    assert [found.code for found in plan(tmp_path, "ab" * 20, "full", canvas_code_repo=repo).findings] == codes


def test_another_code_base_is_known_by_its_files() -> None:
    seen = Code({"data/dataset_info.py": min(upstream.BAGEL)})
    found = patch_findings.findings(seen, {"canvas_code_dir": "/srv/code"}, "ab" * 20)
    assert [one.code for one in found] == ["UPSTREAM_NOT_SUPPORTED"]


@pytest.mark.parametrize(("batches", "codes"), [(0, []), (3, ["DEBUG_BATCHES_BROKEN"])], ids=["none", "three"])
def test_debug_batches_at_the_commit_that_cannot_print_them(
    monkeypatch: pytest.MonkeyPatch, batches: int, codes: list[str]
) -> None:
    monkeypatch.setattr(upstream, "FILES", {})
    seen = Code({"train/pretrain_unified_navit.py": upstream.DEBUG_BROKEN})
    assert [found.code for found in patch_findings.findings(seen, {"run_config_debug_batches": batches}, "")] == codes


@pytest.mark.parametrize(
    ("names", "variable"),
    [
        pytest.param(["run_config_ema: 0", "training_profile: lora"], "training_profile", id="a profile's patches"),
        pytest.param(["run_config_optimizer", "canvas_code_lean"], "run_config_optimizer", id="the first setting's"),
    ],
)
def test_an_unknown_file_is_blamed_on_the_profile_that_wants_a_patch(names: list[str], variable: str) -> None:
    wanted = [Patch(name, FSDP, TABLE[0].versions, TABLE[0].edits) for name in names]
    assert patching.unknown(wanted, "0" * 64).variable == variable
