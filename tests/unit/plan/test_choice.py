"""training_profile: auto becomes a profile before any role reads the settings, and stays that of the checkpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import RolePlan
from ansible_collections.canvas.fleet.plugins.module_utils.machine.gpu import Gpu
from ansible_collections.canvas.fleet.plugins.module_utils.plan import make as plan
from ansible_collections.canvas.fleet.plugins.module_utils.plan import text as report
from ansible_collections.canvas.fleet.plugins.module_utils.plan.observation import Observation
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import observe as nvidia
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config import observe as run_config
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config.resume import Resume
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import observe as training
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.have import Have

from tests.unit.plan.test_make import GB, SETTINGS, observed
from tools.cards import CARDS, MIB

AUTO: dict[str, Any] = {**SETTINGS, "training_profile": "auto", "run_config_lr": 1e-5, "run_config_use_flex": True}


def seen(
    card: str, gpus: int, *, memory: int = 256, step: int | None = None, script: str = "", active: str = ""
) -> Observation:
    found = observed(gpus, memory=memory * GB)
    roles = replace(
        found.roles,
        nvidia=nvidia.Observation(
            "works", "", gpus=tuple(Gpu(place, card, CARDS[card] * MIB) for place in range(gpus))
        ),
        run_config=run_config.Observation(
            script=run_config.File("/s", text=script), resume=Resume(step=step, path="/c/0000510" if step else "")
        ),
        training=training.Observation(Have(active=active)) if active else found.roles.training,
    )
    return replace(found, roles=roles)


def planned(*answers: Observation | None, **settings: Any) -> tuple[plan.Plan, list[Any]]:
    """The plan of one run, and the settings that its roles were decided with."""
    given: list[Any] = []

    def decide(_: Any, used: Any, __: Any) -> RolePlan:
        given.append(used)
        return RolePlan()

    hosts = [
        plan.HostSeen(f"h{rank}", "r", {**AUTO, "fleet_address": f"10.0.0.{rank}", **settings}, answer)  # type: ignore[typeddict-item]
        for rank, answer in enumerate(answers)
    ]
    return plan.make_plan(hosts, {"run_config": decide}), given


def name_of(made: plan.Plan) -> str:
    choice = made.hosts["h0"].choice
    return choice.name if choice else ""


def test_the_roles_see_the_profile_that_was_chosen() -> None:
    made, given = planned(seen("4090", 4, memory=120))
    assert name_of(made) == "lora, streamed on 3 of 4 GPUs"
    assert (given[0]["training_profile"], given[0]["run_config_cpu_offload"]) == ("lora", True)
    assert (given[0]["run_config_ema"], given[0]["run_config_lr"]) == (0.0, 1e-4)
    assert made.hosts["h0"].topology.world_size == 3
    assert made.hosts["h0"].fit
    assert made.hosts["h0"].fit.run.lora
    assert [one.code for one in made.findings] == ["HOST_MEMORY_TIGHT"], "the pinned copies leave no room for the file"


def test_a_learning_rate_in_the_inventory_stays_also_where_it_is_the_default() -> None:
    host = plan.HostSeen("h0", "r", {**AUTO, "fleet_address": "10.0.0.0"}, seen("4090", 4, memory=128), own_rate=True)  # type: ignore[typeddict-item]
    given: list[Any] = []
    plan.make_plan([host], {"run_config": lambda _, used, __: given.append(used) or RolePlan()})  # type: ignore[func-returns-value]
    assert (given[0]["training_profile"], given[0]["run_config_lr"]) == ("lora", 1e-5)


def test_the_plan_says_what_was_chosen_and_why() -> None:
    made, _ = planned(seen("A100-80", 1))
    lines = " ".join(report.plan_text(made).split())
    assert "profile auto: lora for now: the longest sample is not known (full needs" in lines
    assert "sets training_profile: lora, run_config_ema: 0.0" in lines
    choice: Any = made.as_dict()["hosts"]["h0"]["choice"]
    assert (choice["settings"]["training_profile"], choice["settled"]) == ("lora", True)


def test_the_smallest_host_decides_for_its_run() -> None:
    large, small = seen("A100-80", 8), seen("4090", 8, memory=512)
    assert name_of(planned(large, large)[0]) == "full"
    made, given = planned(large, small)
    assert {one["training_profile"] for one in given} == {"lora"}
    assert not [one for one in made.findings if one.code == "RUN_DISAGREES"]


def test_a_host_that_was_not_seen_leaves_the_choice_to_the_others() -> None:
    assert name_of(planned(None, seen("A100-80", 1))[0]) == "lora"
    assert name_of(planned(None)[0]) == ""


SCRIPT = "torchrun -m train.pretrain_unified_navit --ema 0.995 --lr 1e-5"
BARE = "torchrun -m train.pretrain_unified_navit --ema 0.0 --fleet_optimizer adamw_8bit"
FROZEN = f"{SCRIPT.replace('0.995', '0.0')} --freeze_llm True"
LORA = f"{FROZEN} --fleet_lora_rank 32"
STREAMED = f"{LORA.replace('-m', '--nproc_per_node={} -m')} --cpu_offload True"


@pytest.mark.parametrize(
    ("card", "gpus", "script", "name"),
    [
        pytest.param("A100-80", 8, LORA, "lora", id="adapters, though all would fit"),
        pytest.param("4090", 2, LORA, "lora, streamed", id="adapters on other hardware: streamed or not is free"),
        pytest.param("A100-80", 4, STREAMED.format(4), "lora, streamed", id="adapters, streamed as they were"),
        pytest.param("A100-80", 8, STREAMED.format(3), "lora, streamed on 3 of 8 GPUs", id="on as many GPUs"),
        pytest.param("A100-80", 2, STREAMED.format(3), "lora", id="on fewer GPUs: all is free"),
        pytest.param("A100-80", 8, FROZEN, "frozen", id="frozen"),
        pytest.param("A100-80", 4, SCRIPT, "full", id="full, though it does not fit"),
        pytest.param("A100-80", 8, BARE, "full with an optimizer in 8 bits", id="its optimizer stays, too"),
    ],
)
def test_checkpoints_keep_their_profile(card: str, gpus: int, script: str, name: str) -> None:
    made, _ = planned(seen(card, gpus, step=510, script=script))
    assert name_of(made) == name
    choice = made.hosts["h0"].choice
    assert choice
    assert choice.why[0].startswith("checkpoint 510 is of")


@pytest.mark.parametrize(
    ("answer", "unsure"),
    [
        pytest.param(seen("A100-80", 1), True, id="a smaller sample might make room for a better one"),
        pytest.param(seen("A100-80", 8), False, id="nothing is better"),
        pytest.param(seen("A100-80", 1, step=510, script=LORA), False, id="checkpoints decide"),
    ],
)
def test_a_choice_is_for_now_while_the_longest_sample_may_change_it(answer: Observation, unsure: bool) -> None:
    choice = planned(answer)[0].hosts["h0"].choice
    assert choice
    assert bool(choice.unsure) == unsure


def test_checkpoints_of_an_unknown_profile_are_refused_with_the_way_out() -> None:
    made, _ = planned(seen("A100-80", 8, step=510))
    assert [(one.code, one.host, one.variable) for one in made.findings] == [
        ("PROFILE_UNKNOWN", "h0", "training_profile")
    ]


@pytest.mark.parametrize(
    ("script", "settings", "name"),
    [
        pytest.param(SCRIPT, {"run_config_ema": 0.0}, "full", id="no EMA copy any more"),
        pytest.param(BARE, {"run_config_cpu_offload": True}, "full", id="an optimizer that offload excludes"),
        pytest.param(FROZEN, {"run_config_cpu_offload": True}, "frozen, streamed", id="frozen layers to the host"),
    ],
)
def test_settings_that_the_checkpoints_do_not_have_are_the_users_own(
    script: str, settings: dict[str, Any], name: str
) -> None:
    made, _ = planned(seen("A100-80", 1, memory=2000, step=510, script=script), **settings)
    assert name_of(made).startswith(name)


def test_a_profile_that_is_no_candidate_here_is_to_be_named() -> None:
    both = [seen("A100-80", 1, step=510, script=FROZEN) for _ in range(2)]
    made, _ = planned(*both, run_config_cpu_offload=True)
    assert [one.code for one in made.findings if one.variable == "training_profile"] == ["PROFILE_UNKNOWN"]


def test_a_training_that_runs_keeps_its_profile_before_its_first_save() -> None:
    assert name_of(planned(seen("A100-80", 8, script=LORA))[0]) == "full", "nothing of that script is left"
    assert name_of(planned(seen("A100-80", 8, script=LORA, active="active"))[0]) == "lora"


def test_a_profile_by_name_is_no_choice() -> None:
    made, given = planned(seen("4090", 1), training_profile="frozen", run_config_ema=0.0)
    assert made.hosts["h0"].choice is None
    assert given[0]["training_profile"] == "frozen"


def test_a_second_plan_of_the_same_play_keeps_the_choice() -> None:
    first, _ = planned(seen("4090", 2))
    choice = first.hosts["h0"].choice
    assert choice
    again = plan.HostSeen("h0", "r", {**AUTO, **choice.settings}, seen("A100-80", 8), choice=choice)  # type: ignore[typeddict-item]
    assert plan.make_plan([again], {}).hosts["h0"].choice == choice
