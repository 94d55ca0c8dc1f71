"""The plan: the members of a run, its settings, and whether it may start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import RolePlan
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import (
    CATALOGUE,
    SEVERITIES,
    finding,
    placed,
)
from ansible_collections.canvas.fleet.plugins.module_utils.machine.facts import Facts, FileSystem, Init
from ansible_collections.canvas.fleet.plugins.module_utils.machine.gpu import Gpu
from ansible_collections.canvas.fleet.plugins.module_utils.plan import make as plan
from ansible_collections.canvas.fleet.plugins.module_utils.plan import text as report
from ansible_collections.canvas.fleet.plugins.module_utils.plan.observation import Observation
from ansible_collections.canvas.fleet.plugins.module_utils.plan.rules import NEVER_ACCEPTED
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import observe as nvidia
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import observe as training
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.have import Have
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.observed import bare

GB = 10**9
BAGEL = 14_607_260_128
BROKEN: Any = None
SETTINGS: dict[str, Any] = {
    "run_config_processes": 0,
    "run_config_num_workers": 4,
    "run_config_master_port": 29501,
    "run_config_total_steps": 1530,
    "run_config_save_every": 510,
    "run_config_del_previous_state": True,
    "run_config_cpu_offload": False,
    "run_config_use_flex": False,
    "conda_env_use_existing": True,
    "run_config_expected_num_tokens": 8192,
    "run_config_max_num_tokens": 32768,
    "run_config_max_num_tokens_per_sample": 16384,
    "run_config_num_shard": 0,
    "run_config_ema": 0.995,
    "run_config_finetune_from_hf": True,
    "run_config_extra_flags": {},
    "training_profile": "full",
    "training_lora_rank": 32,
    "training_lora_merge": "never",
    "training_lora_targets": "all",
    "training_lora_connectors": True,
    "run_config_optimizer": "adamw",
    "canvas_code_lean": True,
    "fleet_address": "10.0.0.1",
    "weights_parameters": BAGEL,
    "weights_bytes": 29_500_000_000,
    "weights_revision": "a" * 40,
    "nvidia_gpu_expected": True,
    "preflight_accepted_findings": [],
}


def observed(
    number: int = 8, *, memory: int = 2000 * GB, free: int = 5000 * GB, init: str = "systemd", python: str = "3.9.2"
) -> Observation:
    disk = FileSystem("/srv", 1, free, 9000 * GB)
    facts = Facts(python, memory, Init(init), {"weights_dir": disk, "training_checkpoint_dir": disk})
    cards = tuple(Gpu(place, "H200", 150 * GB) for place in range(number))
    return bare(facts, nvidia=nvidia.Observation("works", "", gpus=cards))


def host(name: str, run: str = "", seen: Mapping[str, Any] | None = None, **settings: Any) -> plan.HostSeen:
    return plan.HostSeen(name, run or name, {**SETTINGS, **settings}, observed() if seen is None else seen)


def always(*reasons: str) -> plan.Decide:
    return lambda seen, settings, topology: RolePlan(reasons=reasons, summary="as planned")


DECIDE = {"weights": always(), "nvidia": always()}


def codes(made: plan.Plan) -> list[str]:
    return [found.code for found in made.findings]


def test_two_hosts_of_one_run_form_one_world_ranked_in_inventory_order() -> None:
    made = plan.make_plan([host("b1", "b", fleet_address="10.0.0.7"), host("b0", "b")], DECIDE)
    topology = made.hosts["b0"].topology
    assert (topology.node_rank, topology.world_size, topology.num_shard, topology.num_replicate) == (1, 16, 8, 2)
    assert (topology.master_addr, topology.row_groups) == ("10.0.0.7", 64)
    assert codes(made) == []


def test_one_host_talks_to_itself_as_in_the_guide() -> None:
    assert plan.make_plan([host("a")], DECIDE).hosts["a"].topology.master_addr == "localhost"


@given(nodes=st.integers(1, 9), gpu_count=st.integers(1, 16), workers=st.integers(0, 16))
def test_the_mesh_is_the_world_and_each_worker_gets_one_group(nodes: int, gpu_count: int, workers: int) -> None:
    members = [host(f"h{n}", "r", observed(gpu_count), run_config_num_workers=workers) for n in range(nodes)]
    made = plan.make_plan(members, DECIDE)
    topologies = [made.hosts[member.name].topology for member in members]
    assert {topology.num_shard * topology.num_replicate for topology in topologies} == {nodes * gpu_count}
    assert [topology.node_rank for topology in topologies] == list(range(nodes))
    assert topologies[0].row_groups == nodes * gpu_count * max(1, workers)


@pytest.mark.parametrize(
    ("second", "code"),
    [
        pytest.param(host("b1", "b", run_config_total_steps=9), "RUN_DISAGREES", id="hosts disagree on steps"),
        pytest.param(host("b1", "b", weights_revision="b" * 40), "RUN_DISAGREES", id="hosts disagree on the revision"),
        pytest.param(host("b1", "b", training_profile="frozen"), "RUN_DISAGREES", id="hosts disagree on the profile"),
        pytest.param(host("b1", "b", training_lora_rank=8), "RUN_DISAGREES", id="hosts disagree on the rank"),
        pytest.param(host("b1", "b", observed(4)), "RUN_DISAGREES", id="hosts disagree on the number of GPUs"),
        pytest.param(host("b1", "b", run_config_processes=8), None, id="8 asked for and 8 GPUs are no disagreement"),
        pytest.param(host("b1", "b", run_config_yaml="/x"), None, id="a path may differ"),
    ],
)
def test_the_hosts_of_a_run_must_be_told_the_same(second: plan.HostSeen, code: str | None) -> None:
    made = plan.make_plan([host("b0", "b"), second], DECIDE)
    assert [one for one in codes(made) if one == "RUN_DISAGREES"] == ([code] if code else [])


@pytest.mark.parametrize(
    ("addresses", "refused"),
    [
        pytest.param(("10.0.0.1", "10.0.0.1"), "ADDRESS_TWICE on b1", id="the same address"),
        pytest.param(("10.0.0.1", "10.0.0.2"), "", id="an address of its own"),
        pytest.param(("", ""), "", id="without an address the name of each host is one"),
        pytest.param(("b1", ""), "ADDRESS_TWICE on b1", id="an address that is the other one's name"),
    ],
)
def test_hosts_of_one_run_need_addresses_that_differ(addresses: tuple[str, str], refused: str) -> None:
    pair = [host(f"b{rank}", "b", fleet_address=address) for rank, address in enumerate(addresses)]
    made = plan.make_plan([host("a", fleet_address=addresses[0]), *pair], DECIDE)
    assert {name: one.refusal for name, one in made.hosts.items()} == {"a": "", "b0": refused, "b1": refused}


def test_the_data_of_a_training_that_runs_is_not_exchanged_and_its_run_is_refused() -> None:
    seen = observed()
    seen = replace(seen, roles=replace(seen.roles, training=training.Observation(Have(active="active"))))

    def exchanged(seen: Mapping[str, Any], settings: Mapping[str, Any], topology: Any) -> RolePlan:
        return RolePlan(("other groups",), values={"exchanged": "groups"})

    made = plan.make_plan([host("a", seen=seen, dataset_train_file="/d/t.parquet"), host("b")], {"dataset": exchanged})
    assert (made.hosts["a"].refusal, made.hosts["b"].refusal) == ("DATASET_IN_USE on a", "")


def test_a_lost_host_refuses_its_own_run_and_no_other() -> None:
    gone = plan.HostSeen("b1", "b", findings=(finding("HOST_MISSING", found="lost", expected="all"),))
    made = plan.make_plan([host("a"), host("b0", "b"), gone], DECIDE)
    assert [name for name, one in made.hosts.items() if one.refused] == ["b0", "b1"]
    assert made.hosts["b0"].refusal == "HOST_MISSING on b1"
    assert made.hosts["b0"].topology.world_size == 16, "the world of a run does not shrink with who is in the play"


def fails(seen: Any, settings: Mapping[str, Any], topology: Any) -> RolePlan:
    if topology.run == "b":
        raise ZeroDivisionError("\x1b[2J")
    return RolePlan()


@pytest.mark.unforeseen
@pytest.mark.parametrize(
    ("members", "decide", "told"),
    [
        pytest.param([host("b0", "b")], {"nvidia": fails}, "the role nvidia: ZeroDivisionError", id="a role"),
        pytest.param([host("b0", "b", replace(observed(), roles=BROKEN))], {}, "the machine: Attribute", id="a host"),
        pytest.param(
            [host("b0", "b"), host("b1", "b", replace(observed(), roles=BROKEN), run_config_processes=8)],
            {},
            "the run: AttributeError",
            id="hosts against each other",
        ),
    ],
)
def test_what_nobody_foresaw_refuses_its_own_run(
    members: list[plan.HostSeen], decide: dict[str, plan.Decide], told: str
) -> None:
    made = plan.make_plan([*members, host("z")], decide)
    found = [one for one in made.findings if one.code == "ANSWER_NOT_JUDGED"]
    assert told in " ".join(one.found for one in found)
    assert all(one.found.isprintable() and one.run == "b" for one in found)
    assert [name for name, one in made.hosts.items() if one.refused] == [one.name for one in members]


def test_an_accepted_finding_is_shown_and_refuses_nothing() -> None:
    made = plan.make_plan(
        [host("a", seen=observed(memory=GB), preflight_accepted_findings=["HOST_MEMORY_SHORT"])], DECIDE
    )
    assert [found.accepted for found in made.findings] == [True]
    assert not made.hosts["a"].refused
    assert "accepted HOST_MEMORY_SHORT" in report.plan_text(made)


def test_rooms_out_of_sync_are_the_changes_in_the_order_of_the_house() -> None:
    made = plan.make_plan(
        [host("a")], {"weights": always("no files"), "nvidia": always("no driver"), "dataset": always()}
    )
    assert made.hosts["a"].changes == ["nvidia", "weights"]
    assert made.hosts["a"].unready == "nvidia: no driver; weights: no files"


@pytest.mark.parametrize(
    ("seen", "settings", "code"),
    [
        pytest.param(observed(init="tini"), {}, "NO_SYSTEMD", id="a container without systemd"),
        pytest.param(observed(0), {}, None, id="no GPU yet is for the nvidia role to judge"),
        pytest.param(observed(0), {"nvidia_gpu_expected": False}, None, id="no GPU by the user's own word"),
        pytest.param(observed(4), {"run_config_processes": 8}, "GPU_COUNT_SHORT", id="more processes than GPUs"),
    ],
)
def test_what_the_machine_must_have(seen: Observation, settings: dict[str, Any], code: str | None) -> None:
    assert codes(plan.make_plan([host("a", seen=seen, **settings)], DECIDE)) == ([code] if code else [])


def test_every_code_of_the_catalogue_says_why_and_how_to_mend() -> None:
    for code, entry in CATALOGUE.items():
        assert entry.severity in SEVERITIES, code
        assert entry.because, code
        assert entry.remedy, code


def test_placing_findings_keeps_a_host_that_is_named_already() -> None:
    own = finding("NO_GPU", host="b", found="x", expected="y")
    assert [one.host for one in placed([own, finding("NO_GPU", found="x", expected="y")], host="a", run="r")] == [
        "b",
        "a",
    ]


def test_the_table_names_each_room_once_and_ends_with_the_count() -> None:
    text = report.plan_text(
        plan.make_plan([host("a"), host("z", seen=observed(init="tini"))], {"weights": always("no files")})
    )
    assert "weights  will change  no files" in text
    assert text.endswith("1 error\nrefused: z, because of NO_SYSTEMD (nothing is changed on their hosts)")


def test_a_lost_first_host_does_not_make_the_others_look_too_small() -> None:
    lost = plan.HostSeen("b0", "bolt", SETTINGS, None, (finding("HOST_UNREACHABLE", found="x", expected="y"),))
    made = plan.make_plan([lost, host("b1", "bolt", observed(8, memory=4000 * GB), fleet_address="10.0.0.2")], DECIDE)
    assert made.hosts["b1"].topology.nproc_per_node == 8
    assert [found.code for found in made.findings if found.host == "b1"] == []


# the secret of a run


def holding(key_id: str) -> Observation:
    seen = observed()
    return replace(seen, roles=replace(seen.roles, training=training.Observation(Have(key_id=key_id))))


@pytest.mark.parametrize(
    ("held", "state", "expected"),
    [
        (("ab", "ab"), "started", False),
        (("ab", "cd"), "started", True),
        (("ab", ""), "started", True),
        (("", ""), "started", True),
        (("ab", "ab"), "restarted", True),
        (("ab", "ab"), "stopped", False),
        (("ab", "ab", ""), "started", True),
        (("ab",), "restarted", False),
        (("",), "started", False),
    ],
)
def test_hosts_without_a_secret_in_common_are_given_a_new_one(
    held: tuple[str, ...], state: str, expected: bool
) -> None:
    members = [
        host(f"b{number}", "b", holding(secret), training_state=state, fleet_address=f"10.0.0.{number}")
        for number, secret in enumerate(held)
    ]
    made = plan.make_plan([*members, host("a")], DECIDE)
    told = {made.hosts[one.name].as_dict()["topology"]["new_secret"] for one in members}
    assert told == {expected}
    assert not made.hosts["a"].topology.new_secret


def test_a_host_that_was_not_seen_has_no_secret() -> None:
    made = plan.make_plan([host("b0", "b", holding("ab")), plan.HostSeen("b1", "b")], DECIDE)
    assert made.hosts["b0"].topology.new_secret


def test_a_checkpoint_is_bounded_by_the_model() -> None:
    made = plan.make_plan([host("b0", "b"), host("b1", "b")], DECIDE)
    whole = 12 * BAGEL
    assert whole < made.hosts["b1"].topology.checkpoint_bytes < 3 * whole
    unknown = plan.make_plan([host("b0", "b", weights_parameters=0)], DECIDE)
    assert unknown.hosts["b0"].topology.checkpoint_bytes == 0


def test_a_silent_part_refuses_its_run_and_the_other_parts_and_runs_are_judged() -> None:
    seen = replace(observed(), silent={"weights": "no answer within 30 s, at /data/models"})
    made = plan.make_plan([host("a", seen=seen), host("b")], {**DECIDE, "nvidia": always()})
    assert [(found.code, found.host, found.found) for found in made.findings] == [
        ("HOST_PART_SILENT", "a", "weights: no answer within 30 s, at /data/models")
    ]
    assert made.hosts["a"].roles["nvidia"].in_sync
    assert made.hosts["a"].changes == ["weights"]
    assert (made.hosts["a"].refused, made.hosts["b"].refused) == (True, False)
    assert "/data/models" in report.plan_text(made)


def test_a_run_with_a_host_whose_gpus_are_silent_counts_those_of_the_other() -> None:
    lost = replace(observed(), silent={"nvidia": "no answer within 90 s", "facts": "no answer within 30 s"})
    lost = replace(lost, roles=replace(lost.roles, nvidia=nvidia.Observation("absent", "")))
    made = plan.make_plan([host("a", "r", lost, fleet_address="1"), host("b", "r")], {})
    assert made.hosts["a"].topology.nproc_per_node == 8
    assert codes(made) == ["HOST_PART_SILENT", "HOST_PART_SILENT"]


def test_a_silent_part_cannot_be_accepted() -> None:
    assert "HOST_PART_SILENT" in NEVER_ACCEPTED


def test_a_run_of_which_no_host_was_asked_for_is_not_planned() -> None:
    """With --limit; a run that it cuts is planned and refused."""
    gone = (finding("HOST_MISSING", found="left out", expected="all"),)
    lost = [plan.HostSeen(name, run, {}, None, gone) for name, run in (("b0", "b"), ("c0", "c"), ("c1", "c"))]
    made = plan.make_plan([host("a0", seen=observed()), host("b1", "b", observed()), *lost], {}, {"b0", "c0", "c1"})
    assert [*made.hosts] == ["a0", "b1", "b0"]
    assert (made.outside, made.hosts["b1"].refusal) == (("c",), "HOST_MISSING on b0")
    assert report.summary_lines(made)[0].endswith("; outside of --limit: c")


def test_one_machine_under_two_names_is_refused_under_the_second() -> None:
    def seen(identity: str) -> Observation:
        return replace(observed(), facts=replace(observed().facts, identity=identity))

    hosts = [host("a", seen=seen("m1")), host("b", seen=seen("m2")), host("c", "d", seen("m1"))]
    made = plan.make_plan([*hosts, host("e", seen=seen("")), host("f", seen=seen(""))], {})
    assert [(found.code, found.host) for found in made.findings] == [("MACHINE_TWICE", "c")]
    assert "a of run a" in made.findings[0].found
    assert [name for name, one in made.hosts.items() if one.refused] == ["c"]


HERE, ELSEWHERE = "10.0.0.1:22", "10.0.0.1:2222"


@pytest.mark.parametrize(
    ("places", "refused"),
    [
        pytest.param([("", HERE), ("", HERE)], ["b"], id="neither answered"),
        pytest.param([("m1", HERE), ("", HERE)], ["b"], id="one answered"),
        pytest.param([("m1", HERE), ("m1", HERE)], ["b"], id="both answered, and are one: said once"),
        pytest.param([("m1", HERE), ("m2", HERE)], [], id="both answered, behind different jump hosts"),
        pytest.param([("", HERE), ("", ELSEWHERE)], [], id="another port: a container of its own"),
        pytest.param([("", ""), ("", "")], [], id="names without an address"),
    ],
)
def test_one_address_under_two_names_is_one_machine_unless_both_answered(
    places: list[tuple[str, str]], refused: list[str]
) -> None:
    def member(name: str, identity: str, address: str) -> plan.HostSeen:
        facts = replace(observed().facts, identity=identity)
        seen = replace(observed(), facts=facts) if identity else None
        return replace(host(name, seen=seen), observation=seen, reached_at=address)

    made = plan.make_plan([member(name, *place) for name, place in zip("ab", places, strict=True)], {})
    assert [found.host for found in made.findings if found.code == "MACHINE_TWICE"] == refused
