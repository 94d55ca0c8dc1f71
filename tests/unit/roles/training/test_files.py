"""Root's files of a unit: the supervisor's code comes and goes with what runs, and the spec says what was asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.peers.secret import fingerprint, read
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import files as unit_files
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import host as unit_host
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import payload as supervisor_spec
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import want as unit_want
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.text import render
from ansible_collections.canvas.fleet.plugins.module_utils.system import units

from tests.unit.support.nodes import SECRET
from tests.unit.support.units import WANT


def test_code_that_runs_or_is_named_stays_and_other_code_goes(tmp_path: Path) -> None:
    want = replace(WANT, state_dir=str(tmp_path))
    folder, units, processes = Path(want.payloads), tmp_path / "units", tmp_path / "proc"
    for path in (folder, units, processes / "12", processes / "13"):
        path.mkdir(parents=True)
    for name in ("runs", "named", "old"):
        (folder / f"{name}.pyz").write_text("")
    (processes / "12/cmdline").write_text(f"/usr/bin/python3\0-I\0{folder}/runs.pyz\0/spec.json\0")
    (processes / "13/cmdline").write_text(f"grep\0{folder}/old.pyz.bak\0")
    (units / "canvas-training-bolt.service").write_text(f"ExecStart=/usr/bin/python3 -I {folder}/named.pyz /s.json\n")
    unit_files.place_payload(want, processes, units)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["named.pyz", "runs.pyz", Path(supervisor_spec.path(want.payloads)).name]
    )
    assert Path(supervisor_spec.path(want.payloads)).stat().st_mode & 0o777 == 0o644


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
    want = replace(WANT, checkpoint_dir=checkpoints, kept_dir=kept)
    assert want.writable == (*writable, want.own)
    assert f"ReadWritePaths={' '.join(want.writable)}\n" in render(want)


def test_a_start_waits_for_every_disk_that_it_reads_or_writes() -> None:
    """A disk that a boot mounts late would end in SCRIPT_MISSING, which is not tried again."""
    want = replace(WANT, kept_dir="/kept/atlas", mounts=("/models/BAGEL", "/envs/bagel canvas", "/data/train"))
    (line,) = (line for line in render(want).splitlines() if line.startswith("RequiresMountsFor="))
    assert line == (
        "RequiresMountsFor=/srv/b/out /srv/b/out/checkpoints /kept/atlas /var/lib/canvas-fleet /srv/b/code "
        '/srv/b/train.sh /models/BAGEL "/envs/bagel canvas" /data/train'
    )


def test_the_spec_holds_the_shape_of_the_run_and_no_key() -> None:
    topology = {
        "hosts": ["b0", "b1"],
        "addresses": ["10.0.0.1", "10.0.0.2"],
        "node_rank": 1,
        "nnodes": 2,
        "num_shard": 4,
    }
    want = replace(WANT, wandb_key_file="/srv/key", **unit_want.of_topology(topology, 0))
    spec = json.loads(want.spec())
    assert (spec["nnodes"], spec["node_rank"], spec["shards"]) == (2, 1, 4)
    assert spec["addresses"] == ["10.0.0.1", "10.0.0.2"]
    assert spec["limits"] == {"load": 3600, "first_step": 1800, "save": 900, "floor": 30}
    assert "/srv/key" not in want.spec()
    assert unit_want.of_topology(topology, 8)["shards"] == 8


def test_a_stop_has_time_to_end_the_processes_after_the_wait() -> None:
    assert "TimeoutStopSec=1860\n" in render(WANT)


# the secret of the run


def test_the_secret_is_roots_alone_and_read_back_by_its_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "PATH", str(tmp_path))
    want = replace(WANT, state_dir=str(tmp_path), nnodes=2)
    assert unit_host.Host().read(want).key_id == ""
    unit_host.Host(secret=SECRET).do("secret", want)
    assert Path(want.secret_path).stat().st_mode & 0o777 == 0o600
    assert read(want.secret_path) == SECRET
    assert unit_host.Host().read(want).key_id == fingerprint(SECRET)


@pytest.mark.parametrize("handed", ["", "short", "z" * 64])
def test_a_secret_that_was_not_handed_out_is_not_placed(tmp_path: Path, handed: str) -> None:
    want = replace(WANT, state_dir=str(tmp_path), nnodes=2, key_id="new")
    with pytest.raises(FleetError, match="none was handed out"):
        unit_host.Host(secret=handed).do("secret", want)
    assert not Path(want.secret_path).exists()
