"""Root's files of a unit: the supervisor's code comes and goes with what runs, and the spec says what was asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.peers.secret import fingerprint, read
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import files as unit_files
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import payload as supervisor_spec
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import unit_host
from ansible_collections.canvas.fleet.plugins.module_utils.system import units

from tests.unit.support.nodes import SECRET
from tests.unit.support.units import WANT, want


def test_code_that_runs_or_is_named_stays_and_other_code_goes(tmp_path: Path) -> None:
    wanted = want(fleet_state_dir=str(tmp_path))
    folder, units, processes = Path(wanted.payloads), tmp_path / "units", tmp_path / "proc"
    for path in (folder, units, processes / "12", processes / "13"):
        path.mkdir(parents=True)
    for name in ("runs", "named", "old"):
        (folder / f"{name}.pyz").write_text("")
    (processes / "12/cmdline").write_text(f"/usr/bin/python3\0-I\0{folder}/runs.pyz\0/spec.json\0")
    (processes / "13/cmdline").write_text(f"grep\0{folder}/old.pyz.bak\0")
    (units / "canvas-training-bolt.service").write_text(f"ExecStart=/usr/bin/python3 -I {folder}/named.pyz /s.json\n")
    unit_files.place_payload(wanted, processes, units)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["named.pyz", "runs.pyz", Path(supervisor_spec.path(wanted.payloads)).name]
    )
    assert Path(supervisor_spec.path(wanted.payloads)).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("checkpoints", "kept", "writable"),
    [
        ("/srv/b/out/checkpoints", "", ("/srv/b/out",)),
        ("/data/ck", "", ("/srv/b/out", "/data")),
        ("/ck", "/kept", ("/srv/b/out", "/ck", "/kept")),
        ("/srv/b/out/ck", "/srv/b/kept", ("/srv/b",)),
    ],
    ids=["in the results", "elsewhere", "in the root", "kept above the results"],
)
def test_checkpoints_and_what_is_kept_of_them_are_writable_in_one_mount(
    checkpoints: str, kept: str, writable: tuple[str, ...]
) -> None:
    wanted = want(training_checkpoint_dir=checkpoints, training_kept_dir=kept)
    assert wanted.writable == (*writable, wanted.own)
    assert f"ReadWritePaths={' '.join(wanted.writable)}\n" in wanted.texts.unit


def test_a_start_waits_for_every_disk_that_it_reads_or_writes() -> None:
    """A disk that a boot mounts late would end in SCRIPT_MISSING, which is not tried again."""
    reads = {
        "weights_dir": "/models/BAGEL",
        "conda_env_prefix": "/envs/bagel canvas",
        "dataset_train_dir": "/data/train",
    }
    (line,) = (
        line
        for line in want(training_kept_dir="/kept/atlas", **reads).texts.unit.splitlines()
        if line.startswith("RequiresMountsFor=")
    )
    assert line == (
        "RequiresMountsFor=/srv/b/out /srv/b/out/checkpoints /kept/atlas /var/lib/canvas-fleet /srv/b/code "
        '/srv/b/train.sh /models/BAGEL "/envs/bagel canvas" /data/train'
    )


def test_the_spec_holds_the_shape_of_the_run_and_no_key() -> None:
    pair = Topology("atlas", ("b0", "b1"), 1, 4, 2, "b0", 29501, ("10.0.0.1", "10.0.0.2"))
    wanted = want(pair, run_config_enable_wandb=True)
    spec = json.loads(wanted.spec())
    assert (spec["nnodes"], spec["node_rank"], spec["shards"]) == (2, 1, 4)
    assert spec["addresses"] == ["10.0.0.1", "10.0.0.2"]
    assert "wandb_api_key" not in wanted.spec()
    assert json.loads(want(pair, run_config_num_shard=8).spec())["shards"] == 8


def test_the_supervisor_saves_by_what_the_trainer_is_told() -> None:
    """Two homes for one number: the supervisor waited for saves that never came."""
    spec = json.loads(want(run_config_save_every=510, run_config_total_steps=1530, run_config_auto_resume=False).spec())
    assert (spec["save_every"], spec["total_steps"], spec["auto_resume"]) == (510, 1530, False)


@pytest.mark.parametrize(
    ("change", "older"),
    [
        ({"training_state": "stopped"}, False),
        ({"training_follow": True}, False),
        ({"training_restore_step": 40}, False),
        ({"training_apply": "restart_after_save"}, False),
        ({"training_keep_last": 3}, True),
        ({"training_step_seconds": 60.0}, True),
        ({"fleet_download_rate": 1}, False),
    ],
)
def test_only_what_the_training_runs_by_is_in_the_spec(change: dict[str, Any], older: bool) -> None:
    assert (want(**change).spec() != WANT.spec()) == older


def test_a_stop_has_time_to_end_the_processes_after_the_wait() -> None:
    assert "TimeoutStopSec=1860\n" in WANT.texts.unit


# the secret of the run


def test_the_secret_is_roots_alone_and_read_back_by_its_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "PATH", str(tmp_path))
    two = want(Topology("atlas", ("a", "b"), 0, 2, 2, "a", 1), fleet_state_dir=str(tmp_path))
    assert unit_host.Host().read(two).key_id == ""
    unit_host.Host(secret=SECRET).do("secret", two)
    assert Path(two.secret_path).stat().st_mode & 0o777 == 0o600
    assert read(two.secret_path) == SECRET
    assert unit_host.Host().read(two).key_id == fingerprint(SECRET)


@pytest.mark.parametrize("handed", ["", "short", "z" * 64])
def test_a_secret_that_was_not_handed_out_is_not_placed(tmp_path: Path, handed: str) -> None:
    two = want(Topology("atlas", ("a", "b"), 0, 2, 2, "a", 1, new_secret=True), fleet_state_dir=str(tmp_path))
    with pytest.raises(FleetError, match="none was given"):
        unit_host.Host(secret=handed).do("secret", two)
    assert not Path(two.secret_path).exists()
