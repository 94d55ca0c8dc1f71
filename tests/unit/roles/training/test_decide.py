"""The role `training`: what it says before a start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import apply as training_apply
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.have import Have
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import checkpoint as checkpoints
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.log import Summary

from tests.unit.support.trainings import READY, RUNS, Dies, checkpoint, decide, seen
from tests.unit.support.units import SHAPE, WANT


@pytest.mark.parametrize(
    ("have", "summary"),
    [(RUNS, "running, step 35/60"), (replace(READY, finished=True), "finished, step 35/60")],
)
def test_a_running_and_a_finished_training_are_in_sync(have: Have, summary: str) -> None:
    plan = decide(seen(have, step=35))
    assert plan.in_sync
    assert plan.summary == summary
    assert not plan.findings
    assert plan.values["report"]["step"] == 35
    ended = {} if have.running else {"last": plan.values["report"]}
    assert decide(seen(have, step=35), training_follow=True).values == ended


@pytest.mark.parametrize(
    ("have", "total", "codes"),
    [
        (replace(READY, finished=True), 120, ["RUN_STAYS_FINISHED"]),
        (replace(READY, finished=True), 60, []),
        (RUNS, 120, ["TRAINING_RUNS_OLDER"]),
        (replace(RUNS, finished=True), 120, ["TRAINING_RUNS_OLDER"]),  # started again by hand
        (READY, 120, []),
    ],
)
def test_more_steps_for_a_run_that_has_ended_need_a_start_that_is_asked_for(
    have: Have, total: int, codes: list[str]
) -> None:
    plan = decide(seen(have, step=60), run_config_total_steps=total)
    assert [one.code for one in plan.findings] == codes
    assert not [reason for reason in plan.reasons if have.finished and "the training is" in reason]


def test_a_finished_run_whose_log_is_gone_is_not_said_to_stay() -> None:
    told = replace(seen(replace(READY, finished=True), step=60), log=Summary())
    assert decide(told, run_config_total_steps=120).findings == ()


ADAPTERS = replace(checkpoint(20, shards=1), form="lora", adapter=checkpoints.Adapter(32, 64.0, "all", True, "", 392))
SAME = {"training_profile": "lora", "training_lora_rank": 32, "training_lora_merge": "never"}


@pytest.mark.parametrize("have", [RUNS, replace(READY, finished=True)], ids=["running", "finished"])
@pytest.mark.parametrize(
    ("changed", "codes"),
    [
        pytest.param({}, set(), id="the same"),
        pytest.param({"run_config_num_shard": 4}, set(), id="shards, which adapters do not have"),
        pytest.param({"training_profile": "full"}, {"CHECKPOINT_OTHER_PROFILE"}, id="another profile"),
        pytest.param({"training_lora_rank": 16}, {"CHECKPOINT_OTHER_ADAPTER"}, id="another rank"),
    ],
)
def test_what_its_checkpoints_cannot_go_on_with_is_refused_under_a_training(
    have: Have, changed: dict[str, Any], codes: set[str]
) -> None:
    found = {one.code for one in decide(seen(have, ADAPTERS), **{**SAME, **changed}).findings}
    assert found & {"CHECKPOINT_OTHER_PROFILE", "CHECKPOINT_OTHER_ADAPTER"} == codes
    if have.finished:
        assert found == codes


@pytest.mark.parametrize(
    ("state", "have", "reasons"),
    [
        (
            "started",
            Have(),
            (
                "results, checkpoint or record folder to be made",
                "another version of the supervisor",
                "the supervisor's settings differ",
                "no unit yet",
                "the unit would not come back after a reboot",
                "the training is absent",
            ),
        ),
        ("started", READY, ("the training is stopped",)),
        ("started", replace(READY, active="failed"), ("the training is failed",)),
        ("started", replace(RUNS, text="# Managed by canvas-fleet, older"), ("the unit's text differs",)),
        ("started", replace(RUNS, reload=True), ("systemd does not know the unit's text on disk",)),
        ("restarted", RUNS, ("the training runs", "a restart was asked for")),
        ("stopped", RUNS, ("the unit would come back after a reboot", "the training runs")),
        ("stopped", replace(READY, enabled=False), ()),
        (
            "started",
            replace(RUNS, others={"canvas-training-bolt": "inactive"}),
            ("canvas-training-bolt, of another run, would come back after a reboot",),
        ),
        ("present", READY, ()),
        ("absent", Have(), ()),
        ("absent", replace(READY, enabled=False), ("the unit is there", "the unit's record is there")),
    ],
)
def test_the_reasons_are_sentences(state: str, have: Have, reasons: tuple[str, ...]) -> None:
    assert decide(seen(have), training_state=state).reasons == reasons


@pytest.mark.parametrize(
    ("found", "foreign", "code"),
    [
        ([checkpoint(20)], (), None),
        ([checkpoint(20, "model"), checkpoint(40)], (), None),
        ([checkpoint(20), checkpoint(40, "incomplete", flaw="scheduler.pt is missing")], (), "CHECKPOINT_INCOMPLETE"),
        ([checkpoint(20, "model")], (), "CHECKPOINT_INCOMPLETE"),
        ([checkpoint(20, shards=4)], (), "CHECKPOINT_SHARDS_DIFFER"),
        ([checkpoint(20, "incomplete"), checkpoint(40)], (), None),
        ([checkpoint(20)], (".ipynb_checkpoints",), "CHECKPOINTS_FOREIGN_NAME"),
    ],
)
def test_a_start_that_would_die_on_the_checkpoints_is_told_before(
    found: list[checkpoints.Checkpoint], foreign: tuple[str, ...], code: str | None
) -> None:
    plan = decide(seen(READY, *found, foreign=foreign))
    assert [one.code for one in plan.findings] == ([code] if code else [])
    for quiet in (
        decide(seen(RUNS, *found, foreign=foreign)),
        decide(seen(READY, *found, foreign=foreign), run_config_auto_resume=False),
        decide(seen(READY, *found, foreign=foreign), training_state="stopped"),
    ):
        assert not quiet.findings


def test_a_node_without_the_checkpoint_is_sent_to_the_first_host() -> None:
    second = replace(SHAPE, hosts=("bolt0", "bolt1"), node_rank=1)
    plan = decide(seen(READY, checkpoint(20, "incomplete", None, "no optimizer file")), second, training_peer_port=0)
    assert plan.findings[0].remedy.startswith("copy the newest whole checkpoint of bolt0 to this host")


def test_shards_are_those_that_the_user_set() -> None:
    assert not decide(seen(READY, checkpoint(20, shards=4)), run_config_num_shard=4).findings


@pytest.mark.parametrize(
    ("have", "older"),
    [
        (RUNS, False),
        (replace(RUNS, text="# Managed by canvas-fleet, older"), True),
        (replace(RUNS, spec="{}"), True),
        (replace(RUNS, started={"/srv/b/train.sh": "1"}, digests={"/srv/b/train.sh": "2"}), True),
        (replace(RUNS, started={"/srv/b/train.sh": "1"}, digests={"/srv/b/train.sh": "1"}), False),
        (replace(READY, finished=True, started={"/a": "1"}, digests={"/a": "2"}), False),
    ],
)
def test_a_running_training_older_than_its_files_is_told(have: Have, older: bool) -> None:
    assert [one.code for one in decide(seen(have)).findings] == (["TRAINING_RUNS_OLDER"] if older else [])


@pytest.mark.parametrize("active", ["active", "activating", "deactivating"])
def test_the_plan_refuses_a_start_beside_another_run_as_the_module_does(active: str) -> None:
    have = replace(READY, others={"canvas-training-bolt": active})
    (found,) = decide(seen(have)).findings
    assert (found.code, found.found) == ("TRAINING_OF_ANOTHER_RUN", f"canvas-training-bolt is {active}")
    for quiet in (decide(seen(have), training_state="stopped"), decide(seen(replace(RUNS, others=have.others)))):
        assert not quiet.findings


@pytest.mark.parametrize(
    ("path", "variable"), [(WANT.checkpoint_dir, "training_checkpoint_dir"), (WANT.kept, "training_kept_dir")]
)
def test_a_save_that_would_meet_a_read_only_file_system_is_refused_before(path: str, variable: str) -> None:
    have = replace(READY, strays={path: "/disk/ck"})
    (found,) = decide(seen(have)).findings
    assert (found.code, found.remedy) == ("CHECKPOINTS_LINKED_AWAY", f"{variable}: /disk/ck")
    assert not decide(seen(replace(RUNS, strays=have.strays))).findings
    host = Dies()
    host.have = have
    with pytest.raises(FleetError, match=f"{variable}: /disk/ck"):
        training_apply.converge(host, WANT, "started", check=True, settle=0)


def test_a_name_that_systemd_refuses_is_a_finding_not_a_crash() -> None:
    plan = decide(seen(Have()), training_unit="canvas training")
    assert [one.code for one in plan.findings] == ["VARIABLE_INVALID"]


FOREIGN = {
    "a person's unit": replace(READY, text="[Service]\nExecStart=/usr/sbin/sshd\n"),
    "a person's helper": replace(READY, gpu="[Service]\nExecStart=/bin/true\n"),
    "a unit of a package": Have(load="loaded", fragment="/usr/lib/systemd/system/canvas-training-atlas.service"),
    "a transient unit": Have(load="loaded", fragment="/run/systemd/transient/canvas-training-atlas.service"),
    "a masked unit": Have(load="masked"),
}


@pytest.mark.parametrize("have", FOREIGN.values(), ids=FOREIGN.keys())
@pytest.mark.parametrize("state", ["started", "stopped", "present", "restarted", "absent"])
def test_a_unit_of_somebody_else_is_neither_written_nor_started_nor_removed(have: Have, state: str) -> None:
    assert "UNIT_FOREIGN" in [one.code for one in decide(seen(have), training_state=state).findings]
    host = Dies()
    host.have = have
    with pytest.raises(FleetError) as caught:
        training_apply.converge(host, WANT, state, check=False, settle=0)
    assert caught.value.code == "UNIT_FOREIGN"
    assert host.have == have


@pytest.mark.parametrize(
    "have",
    [
        READY,
        Have(),
        replace(READY, fragment=WANT.path),
        replace(READY, text="# Managed by canvas-fleet 0.1.0 (role training)\n"),
        Have(load="loaded", active="active", fragment=WANT.path),
    ],
    ids=["ours", "none", "as systemd knows it", "of an older version", "its file removed while it runs"],
)
def test_a_unit_of_ours_is_none_of_somebody_else(have: Have) -> None:
    assert "UNIT_FOREIGN" not in [one.code for one in decide(seen(have)).findings]
