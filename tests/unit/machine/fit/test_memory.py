"""What a run needs of GPUs and hosts: measured figures, reported cases, a table with its arithmetic, and laws."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.disks import Saves, run_parts, save_parts
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.host_memory import host_need, host_phases
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.judge import Node, judge_gpu, judge_host
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.memory import (
    CONTEXT,
    Lora,
    Run,
    gpu_need,
    gpu_phases,
)
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import BAGEL

from tools.cards import CARDS, MIB

GB, TB = 1e9, 1e12
P, T = 14.607260128, 14.575018464  # 10^9 parameters: all, and those that are trained


def node(card: str, gpus: int, memory: float = 4 * TB) -> Node:
    return Node(gpus, CARDS[card] * MIB, memory, card)


def total(run: Run, phase: str) -> float:
    return sum(gpu_phases(run)[phase].values())


# Measured ------------------------------------------------------------------------------------------------------------

OLD = Run(BAGEL, 1, lean=False)  # as upstream starts and saves
ONE = replace(OLD, expected_tokens=64, sample_tokens=64)  # the measured model was small, and so was its batch


@pytest.mark.parametrize(
    ("figure", "measured"),
    [
        pytest.param(BAGEL.parameters, 14_607_260_128, id="parameters of BAGEL-7B-MoT"),
        pytest.param(BAGEL.trained(freeze_llm=False, freeze_vit=False), 14_575_018_464, id="trained ones"),
        pytest.param(
            sum(size for item, size in gpu_phases(ONE)["save"].items() if "state" not in item and "bf16" not in item),
            19.9 * P * GB,
            id="19.9 B per parameter at rest on a GPU",
        ),
        pytest.param(gpu_need(ONE), 26.65 * P * GB, id="26.65 B per parameter at most on one GPU"),
        pytest.param(gpu_need(replace(ONE, offload=True)), 14.9 * P * GB, id="14.9 B with --cpu_offload on one GPU"),
        pytest.param(host_need(ONE), 10.0 * P * GB, id="10.0 B per parameter of host memory while one rank loads"),
        pytest.param(host_need(replace(OLD, offload=True)), 30 * P * GB, id="three times that with --cpu_offload"),
    ],
)
def test_within_a_tenth_of_what_was_measured(figure: float, measured: float) -> None:
    assert figure == pytest.approx(measured, rel=0.10)


# BAGEL itself with random weights, training_profile: frozen, on H100s: ranks, shards, and GB that torch's allocator had
# in use at most in each phase (docs/gpu-proof.md). The longest batch had 19,682 tokens, nearly all of pictures.
REAL_SIZE = {
    "two shards": (
        2,
        2,
        {"load": 19.00, "first step": 28.03, "optimizer.step": 15.35, "pictures": 20.92, "training": 28.64},
    ),
    "one rank": (
        1,
        1,
        {
            "load": 31.49,
            "first step": 38.35,
            "optimizer.step": 30.27,
            "pictures": 35.78,
            "training": 39.00,
            "save": 59.58,
        },
    ),
    "two shards, twice": (
        4,
        2,
        {"load": 19.00, "first step": 28.11, "optimizer.step": 15.35, "pictures": 20.92, "training": 28.63},
    ),
}


@pytest.mark.parametrize(
    ("ranks", "shards", "phase", "measured"),
    [
        pytest.param(ranks, shards, phase, measured, id=f"{name}: {phase}")
        for name, (ranks, shards, phases) in REAL_SIZE.items()
        for phase, measured in phases.items()
    ],
)
def test_the_real_model_is_within_a_tenth_of_the_measured_peak(
    ranks: int, shards: int, phase: str, measured: float
) -> None:
    run = replace(OLD, ranks=ranks, shards=shards, sample_tokens=19_682 // 2, text_share=0.01).frozen(ema_copy=False)
    planned = sum(size for item, size in gpu_phases(run)[phase].items() if item != "CUDA context and NCCL")
    assert planned / GB == pytest.approx(measured, rel=0.10)


@pytest.mark.parametrize(
    ("run", "measured"),
    [
        pytest.param(replace(OLD, ranks=2).frozen(ema_copy=False), 4, id="frozen, two shards"),
        pytest.param(replace(OLD, ranks=4, shards=2).frozen(ema_copy=False), 8, id="frozen, two replicas"),
        pytest.param(replace(OLD, ranks=4), 14, id="full, four shards"),
    ],
)
def test_the_memory_of_a_host_that_gathers_a_sharded_model(run: Run, measured: float) -> None:
    """Bytes per parameter beside the processes; 2 more by safetensors 0.4.5, which copies all before it writes."""
    save = {item: size for item, size in host_phases(run)["save"].items() if item != "processes"}
    assert sum(save.values()) / BAGEL.parameters == pytest.approx(measured + 2, rel=0.02)


# canvas_code_lean, all 28 layers, on one and two H200s: GB that torch's allocator had in use at most.
LEAN = {
    "full, one rank: load": (Run(BAGEL, 1), "load", 121.22),
    "full, two shards: load": (Run(BAGEL, 2), "load", 67.20),
    "frozen, one rank: load": (Run(BAGEL, 1).frozen(ema_copy=False), "load", 31.49),
    "streamed: load": (replace(Run(BAGEL, 1), offload=True).frozen(ema_copy=False), "load", 4.57),
}


@pytest.mark.parametrize(("run", "phase", "measured"), LEAN.values(), ids=LEAN)
def test_a_lean_start_is_within_a_tenth_of_the_measured_peak(run: Run, phase: str, measured: float) -> None:
    planned = sum(size for item, size in gpu_phases(run)[phase].items() if item != "CUDA context and NCCL")
    assert planned / GB == pytest.approx(measured, rel=0.10)


# training_profile: lora at the real size, two samples of 9,499 tokens, on one and two H200s: GB that torch's allocator
# had in use at rest and at most, and GB of host memory of each rank (pinned copies). The connectors were not trained.
LORA = replace(Run(BAGEL, 1, sample_tokens=9499, text_share=0.05).adapted(), adapters=Lora(connectors=False))
ADAPTED = {
    "streamed": (replace(LORA, offload=True), 5.3, 15.0),
    "resident": (LORA, 32.2, 41.0),
    "two shards": (replace(LORA, ranks=2), 17.6, 30.4),
    "two ranks, streamed": (replace(LORA, ranks=2, offload=True), 4.2, 16.0),
}


@pytest.mark.parametrize(("run", "rest", "most"), ADAPTED.values(), ids=ADAPTED)
def test_adapters_are_within_a_tenth_of_the_measured_peak(run: Run, rest: float, most: float) -> None:
    assert (gpu_need(run) - CONTEXT) / GB == pytest.approx(most, rel=0.10)
    held = {item: size for item, size in gpu_phases(run)["save"].items() if item != "CUDA context and NCCL"}
    layers = 2 * 2 * BAGEL.layer if run.streamed else 0  # on their way while it computes
    assert (sum(held.values()) - layers) / GB == pytest.approx(rest, rel=0.05)


def test_the_size_of_adapters_and_of_their_checkpoint() -> None:
    assert (BAGEL.adapters("all"), BAGEL.adapters("attention")) == (392, 224)
    assert {rank: round(BAGEL.adapted(rank, "all") / 1e6, 1) for rank in (16, 32)} == {16: 80.7, 32: 161.5}
    assert {name: round(size / GB, 2) for name, size in save_parts(LORA).items()} == {
        "adapter.safetensors": 0.65,
        "optimizer": 1.29,
    }
    assert save_parts(LORA, node=1) == {}
    trained = replace(LORA, adapters=Lora())
    assert sum(save_parts(trained).values()) - sum(save_parts(LORA).values()) == 12 * BAGEL.connectors


@pytest.mark.parametrize("ranks", [1, 2])
def test_each_streaming_rank_pins_its_own_copy(ranks: int) -> None:
    pinned = host_phases(replace(LORA, ranks=ranks, offload=True))["load"]["pinned layers"]
    assert pinned / GB == pytest.approx(26.9 * ranks, rel=0.01)
    old = host_phases(replace(LORA, ranks=ranks, offload=True, lean=False))["save"]["pinned layers"]
    assert old / GB == pytest.approx(31.0 * ranks, rel=0.01), "torch rounds up what it pins"


# `full` with --cpu_offload on two H200s, 20 of the 28 layers, 15,862 tokens: GB that torch had in use at most,
# and what was gone of the host's memory.
def test_an_offload_over_two_ranks_is_within_a_tenth_of_what_was_measured() -> None:
    model = replace(BAGEL, llm=BAGEL.llm - 8 * BAGEL.layer, layers=20)
    shape = {"sample_tokens": 7931, "expected_tokens": 1, "text_share": 0.01}
    run = replace(Run(model, 2, **shape), optimizer="adamw_fused", ema_copy=False, offload=True)
    assert (gpu_need(run) - CONTEXT) / GB == pytest.approx(28.63, rel=0.10)
    held = {item: size for item, size in host_phases(run)["load"].items() if "page cache" not in item}
    assert sum(held.values()) / GB == pytest.approx(245.6, rel=0.02)


# full, without an EMA copy, two shards on two H200s, two samples of 9,480 tokens: GB at most in optimizer.step, by
# optimizer, and in training.
BARE = Run(BAGEL, 2, sample_tokens=9480, text_share=0.05, ema_copy=False)


@pytest.mark.parametrize(
    ("run", "phase", "measured"),
    [
        pytest.param(BARE, "optimizer.step", 146.3, id="upstream's default makes temporaries"),
        pytest.param(replace(BARE, optimizer="adamw_fused"), "optimizer.step", 117.1, id="fused makes none"),
        pytest.param(replace(BARE, optimizer="adamw_fused"), "training", 126.7, id="a step of it"),
        pytest.param(
            replace(BARE, optimizer="adamw_8bit"), "optimizer.step", 117.1 - (8 - 2.03) * T / 2, id="8 bit, computed"
        ),
    ],
)
def test_full_without_an_ema_copy_is_within_a_tenth_of_the_measured_peak(run: Run, phase: str, measured: float) -> None:
    planned = sum(size for item, size in gpu_phases(run)[phase].items() if item != "CUDA context and NCCL")
    assert planned / GB == pytest.approx(measured, rel=0.10)


def test_moments_in_8_bit_take_a_byte_each_and_their_scales() -> None:
    wide, small = (total(replace(BARE, optimizer=name), "optimizer.step") for name in ("adamw_fused", "adamw_8bit"))
    assert (wide - small) / GB == pytest.approx((2 * 4 - 2 * (1 + 4 / 256)) * T / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("run", "added"),
    [
        pytest.param(Run(BAGEL, 1), 2.18, id="full, one rank: the root in bf16"),
        pytest.param(Run(BAGEL, 2), 3.27, id="full, two shards: it is gathered from a copy of the shard"),
        pytest.param(Run(BAGEL, 1).frozen(ema_copy=False), 0, id="frozen, one rank: it is there already"),
        pytest.param(Run(BAGEL, 2).frozen(ema_copy=False), 2.18, id="frozen, two shards: whole"),
    ],
)
def test_a_lean_save_adds_the_root_unit_in_bf16(run: Run, added: float) -> None:
    assert gpu_phases(run)["save"]["root unit in bf16"] / GB == pytest.approx(added, abs=0.01)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("profile", ["full", "frozen"])
def test_the_guides_128_gb_are_enough_for_eight_lean_ranks(ranks: int, profile: str) -> None:
    run = Run(BAGEL, ranks) if profile == "full" else Run(BAGEL, ranks).frozen(ema_copy=False)
    assert judge_host(run, Node(ranks, 0, 128 * GB)).state == "fits"
    assert judge_host(replace(run, lean=False), Node(ranks, 0, 128 * GB)).state == (
        "fits" if profile == "frozen" and ranks == 1 else "short" if ranks > 1 else "tight"
    )


@pytest.mark.parametrize(
    ("run", "measured"),
    [
        pytest.param(Run(BAGEL, 1), 1.66, id="a start and a resume of model and EMA copy"),
        pytest.param(replace(LORA, offload=True), 29.03, id="streamed layers, pinned where they were read to"),
    ],
)
def test_the_host_memory_of_a_lean_start_covers_what_was_measured(run: Run, measured: float) -> None:
    load = sum(size for item, size in host_phases(run)["load"].items() if "page cache" not in item)
    assert measured <= load / GB <= measured + 3


def test_a_streamed_ema_copy_is_of_the_root_unit_alone_in_bf16() -> None:
    streamed = replace(Run(BAGEL, 1).frozen(ema_copy=True), offload=True)
    copy = total(streamed, "training") - total(replace(streamed, ema_copy=False), "training")
    assert copy == pytest.approx(2 * 1.122 * GB, rel=1e-3)


def test_the_vae_encodes_all_pictures_of_a_batch_at_once() -> None:
    batch = Run(BAGEL, 8, most_tokens=5 * 3417)  # five images of a solution: each 512², twice
    picture = (2 * 256 + 3 * 512 + 12) * 512**2  # two outputs in bf16, three temporaries in fp32, the picture itself
    assert gpu_phases(batch)["pictures"]["pictures in the VAE"] == pytest.approx(10 * picture, rel=0.01)
    share = 0.6 * 256 * batch.batch_tokens  # pixels of the tokens that go through the VAE
    assert gpu_phases(batch)["pictures"]["pictures in the VAE"] / share == pytest.approx(2060), "B, as measured"
    small = replace(BAGEL, llm=10**7, vit=10**6, layers=4, hidden=256, intermediate=1024, vocabulary=4096)
    phases = {name: sum(items.values()) for name, items in gpu_phases(Run(small, 1, sample_tokens=9500)).items()}
    assert max(phases, key=lambda name: phases[name]) == "pictures", "a small model needs its GPU for the pictures"


@pytest.mark.parametrize(("shards", "least"), [(8, 44), (4, 88)])
def test_the_optimizer_step_takes_24_bytes_per_parameter_shared_by_the_shards(shards: int, least: float) -> None:
    step = total(Run(BAGEL, shards), "optimizer.step") / GB
    assert step == pytest.approx(24 * P / shards, rel=0.05)
    assert step == pytest.approx(least, rel=0.05)


# Reported ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "tokens", "offload", "phase"),
    [
        pytest.param(4, 11520, False, "optimizer.step", id="4 × 80 GB die in optimizer.step (#215)"),
        pytest.param(8, 11520, False, "", id="8 × 80 GB: 52 GB in training (#103), and the root unit in a save"),
        pytest.param(12, 11520, False, "", id="12 × 80 GB do (#71)"),
        pytest.param(1, 5120, True, "training", id="1 × 80 GB with --cpu_offload dies (#157)"),
    ],
)
def test_gpus_die_where_users_report_it(gpus: int, tokens: int, offload: bool, phase: str) -> None:
    run = replace(OLD, ranks=gpus, expected_tokens=10240, most_tokens=tokens, offload=offload)
    verdict = judge_gpu(run, node("A100-80", gpus))
    assert (verdict.phase if verdict.state != "fits" else "") == phase


@pytest.mark.parametrize(
    ("patched", "measured"), [pytest.param(True, 2.2, id="frozen"), pytest.param(False, 4.4, id="full")]
)
def test_a_sharded_save_adds_the_root_unit_as_measured_on_four_h100s(patched: bool, measured: float) -> None:
    run = replace(OLD, ranks=4).frozen(ema_copy=False) if patched else replace(OLD, ranks=4)
    phases = gpu_phases(run)
    added = sum(phases["save"].values()) - sum(
        size for name, size in phases["optimizer.step"].items() if name != "AdamW's temporaries"
    )
    assert added / GB == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize(
    ("ranks", "memory", "loads"),
    [
        pytest.param(2, 256 * GB, True, id="2 ranks load in 256 GB (#180)"),
        pytest.param(4, 256 * GB, False, id="4 ranks die in 256 GB (#180)"),
        pytest.param(4, 256 * 2**30, False, id="… in 256 GiB too"),
        pytest.param(4, 200 * GB, False, id="4 ranks die in 200 GB (#172)"),
        pytest.param(8, 800 * GB, False, id="8 ranks die in 800 GB, in deepcopy (#172)"),
        pytest.param(8, 900 * 2**30, False, id="8 ranks die in 900 GiB, due to the EMA copy (#215)"),
        pytest.param(8, 1000 * GB, False, id="8 ranks need over 1 TB (#180)"),
        pytest.param(1, 128 * GB, True, id="1 rank in 128 GB, the guide's server"),
        pytest.param(2, 128 * GB, False, id="2 ranks in 128 GB, the guide's least"),
    ],
)
def test_hosts_die_while_loading_where_users_report_it(ranks: int, memory: float, loads: bool) -> None:
    verdict = judge_host(replace(OLD, ranks=ranks), Node(ranks, 0, memory))
    assert (verdict.state != "short") is loads
    assert verdict.phase == "load"


def test_offloading_two_ranks_dies_in_433_gb_while_saving_as_reported() -> None:
    verdict = judge_host(replace(OLD, ranks=2, offload=True), Node(2, 0, 433 * GB))  # Bagel#204
    assert (verdict.state, verdict.phase) == ("short", "save")


def test_a_save_is_as_large_as_contract_says() -> None:
    one = save_parts(Run(BAGEL, 8))
    assert one["model.safetensors"] == one["ema.safetensors"] == pytest.approx(29.2 * GB, rel=0.01)
    assert one["optimizer"] == pytest.approx(117 * GB, rel=0.01)
    two = sum(run_parts(Run(BAGEL, 8), Saves(1000, 500, True)).values())
    assert two + 29.56 * GB == pytest.approx(400 * GB, rel=0.10)
