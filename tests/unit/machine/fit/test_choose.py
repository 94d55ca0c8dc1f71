"""What training_profile: auto stands for: on the guide's hosts, by what a run can go on with, and as laws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.choose import (
    FULL_RATE,
    LORA_RATE,
    Choice,
    candidates,
    choose,
)
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.judge import Node, roomy
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.memory import Run
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import BAGEL, model_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.cards import CARDS, MIB

GB = 1e9


def chosen(*hosts: tuple[Run, Node], ema: float = 0.995, rate: float = FULL_RATE, **kept: Any) -> Choice:
    made = choose(hosts, ema, rate, **kept)
    assert made
    return made


def host(card: str, gpus: int, memory: float, **other: Any) -> tuple[Run, Node]:
    return Run(BAGEL, gpus, sample_tokens=9500, **other), Node(gpus, float(CARDS[card] * MIB), memory * GB, card)


@pytest.mark.parametrize(
    ("card", "gpus", "memory", "name"),
    [
        pytest.param("4090", 1, 64, "lora, streamed", id="one small card"),
        pytest.param("4090", 2, 128, "lora, streamed", id="the guide's least: 2 × 4090, 128 GB"),
        pytest.param("4090", 4, 128, "lora, streamed", id="4 × 4090: memory for the layers of all four"),
        pytest.param("4090", 4, 120, "lora, streamed on 3 of 4 GPUs", id="… and for those of three"),
        pytest.param("4090", 4, 256, "lora, streamed", id="4 × 4090 with more memory"),
        pytest.param("4090", 8, 256, "lora", id="8 × 4090: the base in eight shards"),
        pytest.param("A100-40", 1, 128, "lora, streamed", id="one of 40 GB: not to the last gigabyte"),
        pytest.param("A100-40", 2, 128, "lora", id="the guide's 2 × A100 40 GB"),
        pytest.param("L40S", 1, 128, "lora", id="one of 48 GB"),
        pytest.param("A100-80", 1, 128, "lora", id="one of 80 GB"),
        pytest.param("A100-80", 4, 128, "full without an EMA copy", id="the guide's 4 × A100 80 GB"),
        pytest.param("A100-80", 8, 128, "full", id="8 × 80 GB"),
        pytest.param("L40S", 8, 1000, "full without an EMA copy", id="8 × 48 GB"),
        pytest.param("A100-40", 8, 1000, "full with an optimizer in 8 bits", id="8 × 40 GB"),
        pytest.param("H200", 2, 256, "full without an EMA copy", id="2 × 141 GB"),
        pytest.param("4090", 1, 36, "lora, streamed", id="memory for one pinned copy"),
    ],
)
def test_the_best_that_fits_a_host(card: str, gpus: int, memory: float, name: str) -> None:
    assert chosen(host(card, gpus, memory)).name == name


def test_what_is_chosen_is_said_with_what_the_better_ones_lack() -> None:
    made = chosen(host("4090", 4, 120))
    assert made.settings == {
        "training_profile": "lora",
        "run_config_ema": 0.0,
        "run_config_optimizer": "adamw",
        "run_config_cpu_offload": True,
        "run_config_lr": LORA_RATE,
        "run_config_processes": 3,
        "run_config_num_shard": 0,
        "run_config_num_replicate": 0,
    }
    assert made.why[0] == "full needs 89.3 GB of 25.8 GB per GPU"
    assert made.why[-1] == "lora, streamed needs 124.4 GB of 120.0 GB of host memory"
    assert made.settled


def test_a_profile_that_fits_without_room_lacks_the_room() -> None:
    assert [one for one in chosen(host("A100-40", 1, 128)).why if "to spare" in one] == [
        "lora needs 42.8 GB of 42.9 GB per GPU with 5 % to spare"
    ]


def test_fewer_gpus_are_no_reason_of_their_own() -> None:
    made = chosen(host("4090", 4, 40))
    assert made.name == "lora, streamed on 1 of 4 GPUs"
    assert not [one for one in made.why if " of 4 GPUs needs" in one]


def test_an_optimizer_that_offload_excludes_is_no_candidate() -> None:
    run, _ = host("A100-80", 8, 2000, optimizer="adamw_8bit", offload=True)
    assert {one.settings["training_profile"] for one in candidates(run, 0.995, FULL_RATE)} == {"lora", "frozen"}


def test_a_learning_rate_of_the_users_own_stays() -> None:
    assert "run_config_lr" not in chosen(host("A100-80", 1, 128), rate=5e-5).settings


def test_every_host_of_a_run_counts() -> None:
    large, small = host("A100-80", 8, 128), host("4090", 8, 1000)
    assert chosen(large, large).name == "full"
    assert chosen(large, small).name == "lora"


def test_nothing_is_settled_while_no_gpu_is_seen() -> None:
    run, node = host("4090", 1, 128)
    made = chosen((run, replace(node, gpus=0)))
    assert (made.name, made.settled) == ("full", False)
    tiny = replace(run, model=model_of(400_000, None), gpu=False)
    assert chosen((tiny, replace(node, gpus=0))).settled, "a host that is to have none"


def test_where_nothing_fits_the_smallest_is_taken_and_the_plan_refuses_it() -> None:
    made = chosen(host("4090", 1, 16))
    assert (made.name, made.why[0]) == ("frozen, streamed", "nothing fits")


def test_a_run_goes_on_with_what_its_checkpoints_are_of() -> None:
    made = chosen(host("A100-80", 8, 1000), suits=lambda one: one.run.lora, reason="checkpoint 510 is of lora")
    assert (made.name, made.why) == ("lora", ("checkpoint 510 is of lora",))
    assert choose([host("A100-80", 8, 1000)], 0.995, FULL_RATE, lambda one: False) is None


@settings(deadline=None)
@given(
    card=st.sampled_from(sorted(CARDS)),
    gpus=st.integers(1, 8),
    memory=st.floats(40, 2000),
    ema=st.sampled_from([0.0, 0.995]),
)
def test_no_better_one_would_have_had_room(card: str, gpus: int, memory: float, ema: float) -> None:
    run, node = host(card, gpus, memory)
    every = list(candidates(run, ema, FULL_RATE))
    made = chosen((run, node), ema=ema)
    place = [one.name for one in every].index(made.name)
    assert not any(roomy(one.run, node) for one in every[:place])
    assert made.settings["run_config_ema"] in (0.0, ema)
