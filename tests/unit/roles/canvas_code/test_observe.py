"""The checkout, with real git on real folders: it comes, it changes, edits are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import shown
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import apply as code_apply
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import git as git_folder
from ansible_collections.canvas.fleet.plugins.module_utils.system import git as git_driver
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import registration

from tests.unit.support.canvas_repo import (
    ENTRY,
    INFO,
    TRAINER,
    Upstream,
    checkout,
    commit,
    converge,
    git,
    plan,
    prepared,
    register,
    settings,
)
from tests.unit.support.run_settings import CODE


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    return prepared(tmp_path, monkeypatch)


def test_clones_the_commit_alone_and_is_then_in_sync(tmp_path: Path, upstream: Upstream) -> None:
    assert plan(tmp_path, upstream.two).reasons == (f"not there: {upstream.two[:8]} of file://{tmp_path}/upstream",)
    report = converge(tmp_path, upstream.two)
    assert (report["changed"], report["before"], report["commit"]) == (True, "", upstream.two)
    assert git(checkout(tmp_path), "rev-list", "--count", "HEAD") == "1"
    done = plan(tmp_path, upstream.two)
    assert (done.reasons, done.findings, done.values) == ((), (), {"version": upstream.two, "moving": False})
    assert not converge(tmp_path, upstream.two)["changed"]
    assert not list((tmp_path / "host").glob("*part*"))


def test_a_server_without_single_commits_gives_its_whole_history(tmp_path: Path, upstream: Upstream) -> None:
    git(upstream.path, "config", "protocol.version", "0")
    git(upstream.path, "config", "uploadpack.allowReachableSHA1InWant", "false")
    converge(tmp_path, upstream.one)
    assert git(checkout(tmp_path), "rev-parse", "HEAD") == upstream.one


def test_a_dry_run_touches_nothing(tmp_path: Path, upstream: Upstream) -> None:
    report = converge(tmp_path, upstream.two, check=True)
    assert (report["changed"], report["commit"]) == (True, upstream.two)
    assert not (tmp_path / "host").exists()


def test_a_dry_run_needs_no_git(tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_driver, "SYSTEM_PATH", str(tmp_path))
    assert converge(tmp_path, upstream.two, check=True)["changed"]
    with pytest.raises(FleetError, match="git is not installed"):
        converge(tmp_path, upstream.two)


def test_a_host_that_lost_its_git_still_tells_the_commit(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    converge(tmp_path, upstream.two)
    monkeypatch.setattr(git_driver, "SYSTEM_PATH", str(tmp_path))
    assert plan(tmp_path, upstream.two).in_sync


def test_what_run_config_writes_is_no_edit(tmp_path: Path, upstream: Upstream) -> None:
    converge(tmp_path, upstream.one)
    register(tmp_path)
    (checkout(tmp_path) / "BAGEL-Canvas/data/configs/blockmoving_sft.yaml.user-0123abcd").write_text("old")
    (checkout(tmp_path) / "BAGEL-Canvas/results").mkdir()
    (checkout(tmp_path) / "BAGEL-Canvas/results/x.py").write_text("ignored")
    (checkout(tmp_path) / "notes.txt").write_text("no code")
    done = plan(tmp_path, upstream.one)
    assert (done.in_sync, done.findings) == (True, ())


EDITS = {
    "a file changed": ("BAGEL-Canvas/util.py", "x = 2\n"),
    "a file removed": ("README.md", None),
    "a Python file added": ("BAGEL-Canvas/mine.py", "m = 1\n"),
    "dataset_info.py changed beside our block": (INFO, "# mine\n" + CODE),
}


@pytest.mark.parametrize(("name", "text"), EDITS.values(), ids=EDITS.keys())
def test_an_edit_is_told_and_stays(tmp_path: Path, upstream: Upstream, name: str, text: str | None) -> None:
    converge(tmp_path, upstream.one)
    path = checkout(tmp_path) / name
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    register(tmp_path)
    done = plan(tmp_path, upstream.one)
    assert done.in_sync
    assert [(found.code, found.found) for found in done.findings] == [("CODE_LOCAL_EDITS", name)]
    assert not converge(tmp_path, upstream.one)["changed"]
    assert path.exists() == (text is not None)


def test_another_commit_keeps_edits_that_it_does_not_touch(tmp_path: Path, upstream: Upstream) -> None:
    converge(tmp_path, upstream.one)
    (checkout(tmp_path) / "README.md").write_text("mine\n")
    report = converge(tmp_path, upstream.two)
    assert (report["commit"], report["edits"]) == (upstream.two, ["README.md"])
    assert (checkout(tmp_path) / "README.md").read_text() == "mine\n"


def test_another_commit_keeps_the_registration_also_where_the_file_changed(tmp_path: Path, upstream: Upstream) -> None:
    converge(tmp_path, upstream.one)
    register(tmp_path)
    converge(tmp_path, upstream.three)
    source = (checkout(tmp_path) / INFO).read_bytes()
    assert registration.lookup(source, "interleave_reasoning", "blockmoving_train").entry == ENTRY
    assert registration.unregister(source) == ("# new\n" + CODE).encode()
    assert plan(tmp_path, upstream.three).findings == ()


def test_edits_in_the_way_refuse_the_change(tmp_path: Path, upstream: Upstream) -> None:
    converge(tmp_path, upstream.one)
    (checkout(tmp_path) / TRAINER).write_text("mine\n")
    with pytest.raises(FleetError, match=r"CODE_EDITS_IN_THE_WAY.*pretrain_unified_navit"):
        converge(tmp_path, upstream.two)
    assert git(checkout(tmp_path), "rev-parse", "HEAD") == upstream.one
    assert (checkout(tmp_path) / TRAINER).read_text() == "mine\n"
    codes = [found.code for found in plan(tmp_path, upstream.two).findings]
    assert codes == ["CODE_LOCAL_EDITS", "CODE_EDITS_IN_THE_WAY"], "known before, once the commit has been fetched"


@pytest.mark.parametrize("name", [TRAINER, "BAGEL-Canvas/new.py"], ids=["a tracked file", "a file that was added"])
def test_stash_saves_edits_twice_and_goes_on(tmp_path: Path, upstream: Upstream, name: str) -> None:
    converge(tmp_path, upstream.one)
    (checkout(tmp_path) / name).write_text("mine\n")
    (checkout(tmp_path) / "README.md").write_text("also mine, not in the way\n")
    report = converge(tmp_path, upstream.two, canvas_code_local_edits="stash")
    assert "+mine" in Path(report["stashed"]).read_text()
    assert "also mine" not in Path(report["stashed"]).read_text()
    assert "canvas-fleet" in git(checkout(tmp_path), "stash", "list")
    assert git(checkout(tmp_path), "rev-parse", "HEAD") == upstream.two
    assert plan(tmp_path, upstream.two).findings[0].found == "README.md"


def test_an_ignored_file_of_a_person_is_not_overwritten(tmp_path: Path, upstream: Upstream) -> None:
    four = commit(upstream.path, {"BAGEL-Canvas/.gitignore": "x\n", "BAGEL-Canvas/results/log.txt": "theirs\n"})
    converge(tmp_path, upstream.three)
    mine = checkout(tmp_path) / "BAGEL-Canvas/results/log.txt"
    mine.parent.mkdir()
    mine.write_text("mine\n")
    with pytest.raises(FleetError, match="results"):
        converge(tmp_path, four)
    assert mine.read_text() == "mine\n"


REFUSED = {
    "a folder of other files": ("CODE_FOLDER_FOREIGN", "keep.txt"),
    "a checkout of another repository": ("CODE_FOLDER_FOREIGN", ".git"),
    "a file": ("PATH_IS_A_FILE", ""),
}


@pytest.mark.parametrize(("case", "expected"), REFUSED.items())
def test_what_is_not_ours_is_not_touched(
    tmp_path: Path, upstream: Upstream, case: str, expected: tuple[str, str]
) -> None:
    code, name = expected
    place = checkout(tmp_path)
    if name:
        place.mkdir(parents=True)
        (place / "keep.txt").write_text("mine")
    else:
        place.parent.mkdir()
        place.write_text("mine")
    if name == ".git":
        git(place, "init", "-q")
        git(place, "remote", "add", "origin", "https://example.org/other.git")
        commit(place, {"a": "1"})
    before = sorted(str(path) for path in (tmp_path / "host").rglob("*"))
    assert [found.code for found in plan(tmp_path, upstream.one).findings] == [code]
    with pytest.raises(FleetError, match=code):
        converge(tmp_path, upstream.one)
    assert sorted(str(path) for path in (tmp_path / "host").rglob("*")) == before


def test_a_clone_made_by_hand_is_adopted_whole(tmp_path: Path, upstream: Upstream) -> None:
    git(tmp_path, "clone", "-q", f"file://{upstream.path}/", str(checkout(tmp_path)))
    report = converge(tmp_path, upstream.two)
    assert (report["before"], report["commit"]) == (upstream.three, upstream.two)
    assert git(checkout(tmp_path), "rev-list", "--count", "--all") == "3", "a full clone is not made shallow"


def test_a_branch_is_looked_up_once_and_warned_of(tmp_path: Path, upstream: Upstream) -> None:
    converge(tmp_path, "main")
    done = plan(tmp_path, "main")
    assert (done.in_sync, [found.code for found in done.findings]) == (True, ["REVISION_NOT_PINNED"])
    commit(upstream.path, {"README.md": "newer\n"})
    assert plan(tmp_path, "main").in_sync
    converge(tmp_path, upstream.three[:10])
    assert git(checkout(tmp_path), "rev-parse", "HEAD") == upstream.three


WRONG = {
    "a commit that is not there": ({"canvas_code_commit": "0" * 40}, "no such commit"),
    "a repository that is not there": ({"canvas_code_repo": "file:///nowhere"}, "cannot be fetched"),
}


@pytest.mark.parametrize(("changes", "told"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_source_leaves_no_checkout(
    tmp_path: Path, upstream: Upstream, changes: dict[str, Any], told: str
) -> None:
    wrong = {**settings(tmp_path, upstream.one), **changes}
    with pytest.raises(FleetError, match=told):
        code_apply.converge(wrong, check=False)
    assert not checkout(tmp_path).exists()
    assert converge(tmp_path, upstream.one)["commit"] == upstream.one


def test_a_commit_that_is_not_there_is_shown_and_not_hidden_as_a_key(tmp_path: Path, upstream: Upstream) -> None:
    with pytest.raises(FleetError) as error:
        code_apply.converge(settings(tmp_path, "0" * 40), check=False)
    assert "0" * 40 in shown.line(error.value.found)


SPELLINGS = [
    ("https://github.com/shiwk24/MathCanvas", "https://github.com/shiwk24/MathCanvas.git/", True),
    ("https://github.com/shiwk24/MathCanvas", "git@github.com:shiwk24/MathCanvas.git", True),
    ("https://me:pw@github.com/shiwk24/MathCanvas", "https://github.com/shiwk24/MathCanvas", True),
    ("https://github.com/shiwk24/MathCanvas", "https://github.com/other/MathCanvas", False),
]


@pytest.mark.parametrize(("one", "other", "same"), SPELLINGS)
def test_knows_spellings_of_one_repository(one: str, other: str, same: bool) -> None:
    assert git_folder.same_repo(one, other) is same
