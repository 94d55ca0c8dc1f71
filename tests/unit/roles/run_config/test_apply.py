"""What is written on a host: edits by hand are kept, an interruption anywhere is repaired, the key is in one file."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import shown
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config import observe as run_config
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config.leftovers import leftovers
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config.observe import record_path
from ansible_collections.canvas.fleet.plugins.module_utils.system import ownership
from ansible_collections.canvas.fleet.plugins.module_utils.system.managed_files import Record
from ansible_collections.canvas.fleet.plugins.module_utils.system.ownership import Owner
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import registration

from tests.unit.support import run_texts
from tests.unit.support.accounts import DENIED, account_folder, give, plant, secret_file
from tests.unit.support.cuts import CutError, age_parts, cut_at
from tests.unit.support.run_settings import CODE, lay_out, settings, topology

ME = Owner(os.getuid(), os.getgid())
KEY = "0123456789abcdef"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ownership, "owner_of", lambda user, group: ME)
    lay_out(tmp_path)
    return tmp_path


def converge(root: Path, key: str = "", *, check: bool = False, **changes: Any) -> dict[str, Any]:
    return run_texts.converge(settings(root, **changes), topology(), key, check=check)


def reasons(root: Path, key: str = "", **changes: Any) -> list[str]:
    """What the plan still wants, without file owners, because the test's user is not fleet_user."""
    masked = "sha256:" + hashlib.sha256(key.encode()).hexdigest() if key else ""
    told = settings(root, run_config_wandb_api_key=masked, **changes)
    found = run_config.observe(told)
    owners = {"script": told["fleet_user"], "yaml": told["fleet_user"], "key": "root"}
    owned = {kind: replace(getattr(found, kind), owner=owner) for kind, owner in owners.items()}
    return list(run_texts.decide(replace(found, **owned), told, topology()).reasons)


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_what_was_written_is_what_was_planned(host: Path) -> None:
    first = converge(host, KEY)
    assert first["changed"]
    assert [report["name"] for report in first["files"]] == [
        "wandb_api_key", "train_blockmoving.sh", "blockmoving_sft.yaml", "dataset_info.py",
    ]  # fmt: skip
    assert reasons(host, KEY) == []
    before = tree(host)
    again = converge(host, KEY)
    assert (again["changed"], again["diff"], tree(host)) == (False, [], before)


def test_the_key_in_the_script_of_the_guide_is_in_no_diff_and_no_plan(host: Path) -> None:
    script = Path(settings(host)["run_config_script"])
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f'#!/bin/bash\nexport WANDB_API_KEY="{KEY}"\nwandb login {KEY * 3}\nexport LR=1e-5\n')
    report = shown.result(converge(host, check=True))
    before = next(part["before"] for part in report["diff"] if part["before_header"] == str(script))
    assert KEY not in json.dumps(report)
    assert 'export WANDB_API_KEY="********"' in before
    assert "export LR=1e-5" in before
    seen = run_config.observe(settings(host))
    assert KEY not in str(seen)
    plan = run_texts.decide(seen, settings(host), topology())
    assert KEY not in str(plan)
    assert any(line == "-export LR=1e-5" for line in plan.values["diff"])


def test_a_dry_run_changes_nothing_and_shows_the_difference(host: Path) -> None:
    before = tree(host)
    report = converge(host, KEY, check=True)
    assert report["changed"]
    assert tree(host) == before
    assert [part["after_header"].rsplit("/", 1)[1] for part in report["diff"]] == [
        "train_blockmoving.sh", "blockmoving_sft.yaml", "dataset_info.py",
    ]  # fmt: skip


def test_a_dry_run_works_on_a_bare_host(tmp_path: Path) -> None:
    report = run_texts.converge(settings(tmp_path / "none", fleet_user="nobody-here"), topology(), KEY, check=True)
    assert report["changed"]
    assert not (tmp_path / "none").exists()


def test_the_key_is_in_its_own_file_alone(host: Path) -> None:
    report = converge(host, KEY)
    holders = [path for path, data in tree(host).items() if KEY.encode() in data]
    assert holders == ["state/secrets/wandb_api_key"]
    assert (host / holders[0]).stat().st_uid == os.geteuid()
    assert (host / holders[0]).stat().st_mode & 0o777 == 0o600
    assert (host / holders[0]).parent.stat().st_mode & 0o777 == 0o700
    assert KEY not in json.dumps(report)


def test_a_key_that_is_no_longer_set_goes(host: Path) -> None:
    converge(host, KEY)
    assert converge(host)["changed"]
    assert not (host / "state/secrets").exists()


def test_the_key_of_version_0_1_moves_to_roots_folder(host: Path) -> None:
    old, by_hand = host / "outputs/atlas/secrets/wandb_api_key", host / "outputs/b/secrets/wandb_api_key"
    for path in (old, by_hand):
        path.parent.mkdir(parents=True)
        path.write_text(KEY)
        path.chmod(0o600)
        Record(record_path(settings(host))).note(str(path), hashlib.sha256(KEY.encode()).hexdigest())
    by_hand.write_text("a person's")
    assert any("which blockmoving can write" in one for one in reasons(host, KEY))
    assert converge(host, KEY)["changed"]
    assert (host / "state/secrets/wandb_api_key").read_text() == KEY
    assert not old.parent.exists()
    assert by_hand.read_text() == "a person's", "edited: it is not ours any more"
    assert reasons(host, KEY) == []
    assert not converge(host, KEY)["changed"]


def test_teardown_finds_the_key_where_it_is_and_where_version_0_1_wrote_it(host: Path) -> None:
    converge(host, KEY)
    old = host / "outputs/atlas/secrets/wandb_api_key"
    old.parent.mkdir(parents=True)
    old.write_text(KEY)
    old.chmod(0o600)
    Record(record_path(settings(host))).note(str(old), hashlib.sha256(KEY.encode()).hexdigest())
    found = {part.path: part.why for part in leftovers(settings(host, fleet_root=str(host)))}
    assert found[str(host / "state/secrets/wandb_api_key")] == found[str(old)] == ""


def test_a_key_file_made_by_hand_stays(host: Path) -> None:
    path = host / "state/secrets/wandb_api_key"
    path.parent.mkdir(parents=True)
    path.write_text("my own")
    converge(host)
    assert path.read_text() == "my own"
    converge(host, KEY)
    kept = next(path.parent.glob("*.user-*"))
    assert (path.read_text(), kept.read_text(), kept.stat().st_mode & 0o777) == (KEY, "my own", 0o600)


@pytest.mark.parametrize("name", ["run_config_script", "run_config_yaml"])
@pytest.mark.parametrize("existed", [True, False], ids=["one of ours, edited", "one that was never ours"])
def test_a_text_made_by_hand_is_kept(host: Path, name: str, existed: bool) -> None:
    path = Path(settings(host)[name])
    if existed:
        converge(host)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# by hand\n")
    report = converge(host)
    kept = [entry["kept"] for entry in report["files"] if entry["kept"]]
    assert kept == [f"{path}.user-{hashlib.sha256(b'# by hand' + bytes([10])).hexdigest()[:8]}"]
    assert Path(kept[0]).read_text() == "# by hand\n"
    assert reasons(host) == []
    assert not converge(host)["changed"]


def test_our_own_older_text_is_replaced_without_a_copy(host: Path) -> None:
    converge(host)
    report = converge(host, run_config_lr=2e-5)
    assert [entry["kept"] for entry in report["files"]] == ["", "", "", ""]
    assert [entry["name"] for entry in report["files"] if entry["changed"]] == ["train_blockmoving.sh"]


def test_the_registration_keeps_every_foreign_byte(host: Path) -> None:
    path = Path(run_config.registration_path(settings(host)))
    path.chmod(0o640)
    converge(host)
    assert registration.unregister(path.read_bytes()) == CODE.encode()
    assert path.stat().st_mode & 0o777 == 0o640


def test_an_edit_inside_our_block_is_kept(host: Path) -> None:
    converge(host)
    path = Path(run_config.registration_path(settings(host)))
    edited = path.read_bytes().replace(b"'num_files': 1", b"'num_files': 7")
    path.write_bytes(edited)
    report = converge(host)
    kept = report["files"][3]["kept"]
    assert Path(kept).read_bytes() == edited
    assert not kept.endswith(".py")
    assert reasons(host) == []


def test_an_edit_outside_our_block_needs_no_copy(host: Path) -> None:
    converge(host)
    path = Path(run_config.registration_path(settings(host)))
    path.write_bytes(path.read_bytes() + b"\n# mine\n")
    assert not converge(host)["changed"]
    converge(host, dataset_train_dir="/elsewhere")
    assert path.read_bytes().endswith(b"\n# mine\n")
    assert not list(path.parent.glob("*.user-*"))


BAD = {
    "the guide's registration": "dataset_info.py, line 7",
    "no code": "no file to register",
    "no info file": "number of samples",
    "a folder in place of the script": "a folder stands",
    "a file in place of a folder": "a folder is needed",
    "no such user": "no such user",
}


@pytest.mark.parametrize(("case", "told"), BAD.items())
def test_bad_input_is_refused_before_anything_is_written(
    host: Path, case: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(run_config.registration_path(settings(host)))
    if case == "the guide's registration":
        guide = CODE.replace("'mathcanvas_instruct'", "'blockmoving_train': {'path': 'x'},\n'mathcanvas_instruct'")
        path.write_text(guide)
    elif case == "no code":
        path.unlink()
    elif case == "no info file":
        (host / "BlockMovingSFT/train/train_split_info.json").unlink()
    elif case == "a folder in place of the script":
        Path(settings(host)["run_config_script"]).mkdir(parents=True)
    elif case == "a file in place of a folder":
        (host / "BlockMovingSFT/scripts").write_text("mine")
    else:
        monkeypatch.undo()
    before = tree(host)
    with pytest.raises(FleetError, match=told):
        converge(host)
    assert tree(host) == before


@pytest.mark.parametrize("stop_at", range(8))  # four files, each noted and written
def test_a_cut_at_any_write_is_mended_and_keeps_no_copy_of_ours(
    host: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    with monkeypatch.context() as power:
        cut_at(power, stop_at)
        with pytest.raises(CutError):
            converge(host, KEY)
    age_parts(host)
    # Other settings on the second try: what the first one wrote must not be taken for a person's.
    report = converge(host, KEY, run_config_lr=2e-5)
    assert [entry["kept"] for entry in report["files"]] == ["", "", "", ""]
    assert reasons(host, KEY, run_config_lr=2e-5) == []
    assert not list(host.rglob(".*.canvas-fleet"))


def test_a_cut_never_loses_a_persons_text(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(settings(host)["run_config_script"])
    path.parent.mkdir(parents=True)
    for stop_at in range(9):
        path.write_text("# by hand\n")
        with monkeypatch.context() as power:
            cut_at(power, stop_at)
            with suppress(CutError):
                converge(host)
        assert b"# by hand\n" in [data for name, data in tree(host).items() if "train_blockmoving.sh" in name]


def test_a_link_that_the_account_laid_in_the_scripts_place_is_not_followed(tmp_path: Path, host: Path) -> None:
    """The folder belongs to the training account: /etc/profile.d/x.sh behind the link would be root's next login."""
    script = Path(settings(host)["run_config_script"])
    script.parent.mkdir(parents=True)
    account, secret = account_folder(tmp_path), secret_file(tmp_path)
    script.parent.rmdir()
    script.parent.symlink_to(account)
    plant(account / script.name, secret.parent / "x.sh")
    with pytest.raises(OSError, match=DENIED):
        converge(host)
    assert [one.name for one in secret.parent.iterdir()] == ["secret"]


def test_the_registration_takes_no_owner_and_no_set_uid_from_a_link(tmp_path: Path, host: Path) -> None:
    """A link to a set-uid program of root's would give the account's text that program's owner and mode."""
    path = Path(settings(host)["canvas_code_dir"], "data/dataset_info.py")
    program = tmp_path / "program"
    program.write_bytes(path.read_bytes())
    program.chmod(0o4755)
    path.unlink()
    give(path.parent)
    plant(path, program)
    with pytest.raises(OSError, match=DENIED):
        converge(host)
    assert (path.is_symlink(), program.stat().st_mode & 0o7777) == (True, 0o4755)
