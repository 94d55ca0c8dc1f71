"""What fits which host: a table with its arithmetic in sight, and the laws of the search for the nearest that does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.assess import assess
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.host_memory import host_floor
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.judge import Node, fits, judge_gpu, judge_host
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.memory import Lora, Run, gpu_need, gpu_phases
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.nearest import (
    TOKEN_STEP,
    nearest_hardware,
    nearest_setting,
)
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import BAGEL
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support.profiles import PROFILES
from tools.cards import CARDS, MIB

# The arithmetic of the table, in GB.
P = 14.607  # 10^9 parameters; nearly all are trained in `full`, 0.031 in `frozen`
X = 1.84  # CUDA context and VAE
LAYER, ROOT = 0.466, 1.12  # 10^9 parameters of a decoder layer, and of the root unit
TOKENS = 9500 + 9500  # of the longest batch: two of BlockMoving's longest samples, whatever is expected below that
INPUTS = (28 * 3584 * 2 + 0.45 * 26 * 1152 * 2) * TOKENS / 1e9  # bf16 inputs of all layers
AT_WORK = (48 * 3584 + 12 * 18944) * TOKENS / 1e9  # one trained layer in its backward
AT_REST = (22 * 3584 + 10 * 18944) * TOKENS / 1e9  # a frozen one
WRAPPED = 2 * 4 * 2 * 152_064 * 3584 / 1e9  # embedding and output layer in fp32, held twice before they are cut
LOGITS = 8 * 152_064 * 0.15 * TOKENS / 1e9  # of the forward

# GPUs, card, hosts, profile → where it dies ("" where it fits), GB needed there or most of all
TABLE = [
    (1, "4090", 1, "full", "load", (4 + 4) * P + 1.5 + WRAPPED / 2),
    (1, "4090", 1, "full offload", "training", 14.9 * P + X + INPUTS + AT_WORK),
    (1, "4090", 1, "frozen", "load", 2 * P + 1.5 + WRAPPED / 4),
    (1, "4090", 1, "frozen EMA", "load", (2 + 2) * P + 1.5 + WRAPPED / 4),
    (1, "4090", 1, "frozen offload", "", 2 * (ROOT + 2 * LAYER) + X + 0.4 + INPUTS + AT_REST),
    (2, "4090", 1, "full", "load", (4 + 4) * P / 2 + 1.5 + WRAPPED),
    (2, "4090", 1, "frozen", "first step", 2 * P / 2 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (4, "4090", 1, "full", "load", (4 + 4) * P / 4 + 1.5 + WRAPPED),
    (4, "4090", 1, "frozen", "", 2 * P / 4 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (4, "4090", 1, "frozen EMA", "first step", 4 * P / 4 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (8, "4090", 1, "full", "first step", 12 * P / 8 + 2 * 3 * LAYER + X + AT_WORK),
    (8, "4090", 1, "frozen", "", 2 * P / 8 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (8, "4090", 2, "frozen", "", 2 * P / 8 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (1, "5090", 1, "frozen", "first step", 2 * P + X + 0.1 + INPUTS + AT_REST),
    (1, "5090", 1, "frozen offload", "", 2 * (ROOT + 2 * LAYER) + X + 0.4 + INPUTS + AT_REST),
    (8, "5090", 1, "full", "optimizer.step", 24 * P / 8 + X),
    (8, "5090", 1, "frozen", "", 2 * P / 8 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (8, "5090", 1, "frozen EMA", "", 4 * P / 8 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (1, "A100-40", 1, "full", "load", 8 * P + 1.5 + WRAPPED / 2),
    (1, "A100-40", 1, "full offload", "training", 14.9 * P + X + INPUTS + AT_WORK),
    (1, "A100-40", 1, "frozen", "", 2 * P + X + 0.1 + INPUTS + AT_REST),
    (1, "A100-40", 1, "frozen offload", "", 2 * (ROOT + 2 * LAYER) + X + 0.4 + INPUTS + AT_REST),
    (2, "A100-40", 1, "full", "load", 8 * P / 2 + 1.5 + WRAPPED),
    (2, "A100-40", 1, "frozen", "", 2 * P / 2 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (4, "A100-40", 1, "full", "first step", 12 * P / 4 + 2 * 3 * LAYER + X + AT_WORK),
    (4, "A100-40", 1, "frozen", "", 2 * P / 4 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (4, "A100-40", 1, "frozen EMA", "", 4 * P / 4 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (8, "A100-40", 1, "full", "optimizer.step", 24 * P / 8 + X),
    (8, "A100-40", 1, "frozen", "", 2 * P / 8 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (8, "A100-40", 1, "frozen EMA", "", 4 * P / 8 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (1, "L40S", 1, "full", "load", 8 * P + 1.5 + WRAPPED / 2),
    (1, "L40S", 1, "frozen", "", 2 * P + X + 0.1 + INPUTS + AT_REST),
    (1, "L40S", 1, "frozen offload", "", 2 * (ROOT + 2 * LAYER) + X + 0.4 + INPUTS + AT_REST),
    (4, "L40S", 1, "full", "first step", 12 * P / 4 + 2 * 3 * LAYER + X + AT_WORK),
    (4, "L40S", 1, "frozen", "", 2 * P / 4 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (4, "L40S", 1, "frozen EMA", "", 4 * P / 4 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (8, "L40S", 1, "full", "training", 20 * P / 8 + 2 * (ROOT + 3 * LAYER) + X + INPUTS + LOGITS),
    (8, "L40S", 1, "frozen", "", 2 * P / 8 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (1, "A100-80", 1, "full", "load", 8 * P + 1.5 + WRAPPED / 2),
    (1, "A100-80", 1, "full offload", "training", 14.9 * P + X + INPUTS + AT_WORK),
    (1, "A100-80", 1, "frozen", "", 2 * P + X + 0.1 + INPUTS + AT_REST),
    (1, "A100-80", 1, "frozen EMA", "", 4 * P + X + 0.1 + INPUTS + AT_REST),
    (1, "A100-80", 1, "frozen offload", "", 2 * (ROOT + 2 * LAYER) + X + 0.4 + INPUTS + AT_REST),
    (2, "A100-80", 1, "full", "first step", 12 * P / 2 + 2 * 3 * LAYER + X + AT_WORK),
    (2, "A100-80", 1, "frozen", "", 2 * P / 2 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (2, "A100-80", 1, "frozen EMA", "", 4 * P / 2 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (4, "A100-80", 1, "full", "optimizer.step", 24 * P / 4 + X),
    (4, "A100-80", 1, "frozen", "", 2 * P / 4 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (8, "A100-80", 1, "full", "", 20 * P / 8 + 2 * (ROOT + 3 * LAYER) + X + INPUTS + LOGITS),
    (8, "A100-80", 1, "frozen", "", 2 * P / 8 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (8, "A100-80", 2, "full", "", 20 * P / 8 + 2 * (ROOT + 3 * LAYER) + X + INPUTS + LOGITS),
    (11, "A100-80", 1, "full", "", 20 * P / 11 + 2 * (ROOT + 3 * LAYER) + X + INPUTS + LOGITS),
    (12, "A100-80", 1, "full", "", 20 * P / 12 + 2 * (ROOT + 3 * LAYER) + X + INPUTS + LOGITS),
    (8, "H100", 1, "full", "", 20 * P / 8 + 2 * (ROOT + 3 * LAYER) + X + INPUTS + LOGITS),
    (12, "H100", 1, "full", "", 20 * P / 12 + 2 * (ROOT + 3 * LAYER) + X + INPUTS + LOGITS),
    (16, "H100", 1, "full", "", 16 * P / 16 + 2 * (ROOT + 3 * LAYER) + X + INPUTS + AT_WORK),
    (8, "H100", 1, "frozen EMA", "", 4 * P / 8 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (1, "H200", 1, "full", "first step", 12 * P + 2 * LAYER + X + AT_WORK),
    (1, "H200", 1, "full offload", "training", 14.9 * P + X + INPUTS + AT_WORK),
    (1, "H200", 1, "frozen EMA", "", 4 * P + X + 0.1 + INPUTS + AT_REST),
    (2, "H200", 1, "full", "optimizer.step", 24 * P / 2 + X),
    (3, "H200", 1, "full", "", 24 * P / 3 + X),
    (4, "H200", 1, "full", "", 24 * P / 4 + X),
    (8, "H200", 1, "full", "", 20 * P / 8 + 2 * (ROOT + 3 * LAYER) + X + INPUTS + LOGITS),
    (8, "H200", 2, "full", "", 20 * P / 8 + 2 * (ROOT + 3 * LAYER) + X + INPUTS + LOGITS),
    (8, "H200", 2, "frozen", "", 2 * P / 8 + 2 * (ROOT + 2 * LAYER) + X + INPUTS + AT_REST),
    (2, "B200", 1, "full", "", 24 * P / 2 + X),
    (3, "B200", 1, "full", "", 24 * P / 3 + X),
    (8, "B200", 1, "full", "", 20 * P / 8 + 2 * (ROOT + 3 * LAYER) + X + INPUTS + LOGITS),
]


def sentence(gpus: int, card: str, hosts: int, profile: str, dies: str, need: float) -> str:
    return f"{hosts} × {gpus} × {card}, {profile}: {f'dies in {dies}' if dies else 'fits'}, {need:.1f} GB"


@pytest.mark.parametrize("case", [pytest.param(case, id=sentence(*case)) for case in TABLE])
def test_where_a_profile_dies_on_a_host(case: tuple[int, str, int, str, str, float]) -> None:
    gpus, card, hosts, profile, dies, need = case
    run = Run(BAGEL, gpus, hosts, sample_tokens=9500, **PROFILES[profile])
    verdict = judge_gpu(run, Node(gpus, CARDS[card] * MIB, 4e12, card))
    assert (verdict.phase if verdict.state != "fits" else "") == dies
    assert sum(gpu_phases(run)[verdict.phase].values()) / 1e9 == pytest.approx(need, rel=0.015)


# tokens expected, longest sample → GB that a batch takes on each of 8 trained shards
@pytest.mark.parametrize(
    ("expected", "longest", "batch"),
    [
        pytest.param(1, 3500, 7000, id="two short samples: one more is always taken"),
        pytest.param(4096, 4096, 8192, id="half the guide's budget"),
        pytest.param(8192, 8192, 16384, id="the guide's budget, filled to the brim"),
        pytest.param(8192, 9500, 19000, id="the guide's budget and BlockMoving's longest sample"),
        pytest.param(10240, 11520, 11520, id="upstream's example, cut by max_num_tokens"),
        pytest.param(32768, 16384, 36864, id="upstream's defaults"),
    ],
)
def test_the_activations_of_a_token_budget(expected: int, longest: int, batch: int) -> None:
    most = 11520 if expected == 10240 else 36864
    run = Run(BAGEL, 8, expected_tokens=expected, most_tokens=most, sample_tokens=longest)
    assert run.batch_tokens == batch
    backward = (16 * P / 8) + 2 * (ROOT + 3 * LAYER) + X + batch * (INPUTS + AT_WORK) / TOKENS
    forward = (20 * P / 8) + 2 * (ROOT + 3 * LAYER) + X + batch * (INPUTS + LOGITS) / TOKENS
    end = (20 * P / 8) + 2 * 3 * LAYER + X + batch * AT_WORK / TOKENS
    planned = sum(gpu_phases(run)["training"].values()) / 1e9
    assert planned == pytest.approx(max(forward, backward, end), rel=0.01)


# hosts' memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranks", "profile", "least", "ease"),
    [
        pytest.param(1, "full", 8 * P + 9, 10 * P + 9, id="1 rank: model and EMA copy in fp32, and the file"),
        pytest.param(2, "full", 2 * (8 * P + 9), 2 * (10 * P + 9), id="2 ranks: each has its own"),
        pytest.param(4, "full", 4 * (8 * P + 9), 4 * (10 * P + 9), id="4 ranks"),
        pytest.param(8, "full", 8 * (8 * P + 9), 8 * (10 * P + 9), id="8 ranks: over 1 TB"),
        pytest.param(1, "frozen", 4 * P + 9, 6 * P + 9, id="1 rank without EMA copy"),
        pytest.param(8, "frozen", 8 * (4 * P + 9), 8 * (6 * P + 9), id="8 ranks without EMA copy"),
        pytest.param(1, "frozen offload", 31 + 2 * P + 9, 6 * P + 9, id="frozen layers stay in the host's memory"),
        pytest.param(1, "full offload", 30 * P + 9, 30 * P + 9, id="offloaded: the save is the fullest moment"),
        pytest.param(2, "full offload", 36.5 * P + 18, 36.5 * P + 18, id="… over two ranks: pinned pieces grow"),
    ],
)
def test_what_a_host_must_have_as_upstream_starts(ranks: int, profile: str, least: float, ease: float) -> None:
    verdict = judge_host(Run(BAGEL, ranks, lean=False, **PROFILES[profile]), Node(ranks, 0, 0))
    assert verdict.floor / 1e9 == pytest.approx(least, rel=0.01)
    assert verdict.need / 1e9 == pytest.approx(ease, rel=0.01)


MOMENT = 4 * 2 * 152_064 * 3584 / 1e9  # of the root unit: what torch.save brings to the host at a time


@pytest.mark.parametrize(
    ("ranks", "profile", "least", "ease"),
    [
        pytest.param(1, "full", 4 + MOMENT, 4 + MOMENT + 2 * P, id="1 rank: its process, and a saved file"),
        pytest.param(8, "full", 8 * 4 + MOMENT, 8 * 4 + MOMENT + 2 * P, id="8 ranks: one file for all"),
        pytest.param(8, "frozen", 8 * 4, 8 * 4 + 2 * P, id="8 ranks without EMA copy"),
        pytest.param(1, "frozen offload", 4 + 26.9, 4 + 26.9 + 2 * P, id="frozen layers are pinned in place"),
        pytest.param(1, "lora", 4 + 0.8, 4 + 2 * P, id="lora: a save is small"),
        pytest.param(1, "lora streamed", 30.9 + 0.8, 30.9 + 2 * P, id="lora, streamed"),
        pytest.param(2, "lora streamed", 61.8 + 0.8, 61.8 + 2 * P, id="each rank has a pinned copy of its own"),
        pytest.param(4, "lora streamed", 123.6 + 0.8, 123.6 + 2 * P, id="four fit the guide's 128 GB"),
        pytest.param(1, "full offload", 4 + 24 * P, 4 + 26 * P, id="offloaded: two models, gradients, moments"),
        pytest.param(2, "full offload", 8 + 30.5 * P, 8 + 32.5 * P, id="… over two ranks: pinned pieces grow"),
    ],
)
def test_what_a_host_must_have(ranks: int, profile: str, least: float, ease: float) -> None:
    verdict = judge_host(Run(BAGEL, ranks, **PROFILES[profile]), Node(ranks, 0, 0))
    assert verdict.floor / 1e9 == pytest.approx(least, rel=0.01)
    assert verdict.need / 1e9 == pytest.approx(ease, rel=0.01)


# the search ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "node", "settings"),
    [
        pytest.param(Run(BAGEL, 8), ("H200", 8, 2000), None, id="what fits needs no other setting"),
        pytest.param(
            Run(BAGEL, 8, expected_tokens=196_608, most_tokens=393_216),
            ("H200", 8, 2000),
            # (150.75 - 16·P/8 - 2·(ROOT + 3·LAYER) - X) GB / 0.627 MB = 182,900 tokens, of which 16,384 for a sample
            {"run_config_expected_num_tokens": 162 * TOKEN_STEP},
            id="a batch that is too long",
        ),
        pytest.param(
            Run(BAGEL, 8, 2),
            ("L40S", 8, 2000),
            {"run_config_num_shard": 16, "run_config_num_replicate": 1},
            id="two hosts share one model",
        ),
        pytest.param(Run(BAGEL, 2), ("H200", 8, 2000), {"run_config_processes": 3}, id="GPUs that lie idle"),
        pytest.param(
            Run(BAGEL, 8, lean=False), ("H200", 8, 1000), {"canvas_code_lean": True}, id="memory for upstream's start"
        ),
        pytest.param(Run(BAGEL, 1, gpu=False), ("H200", 0, 25), None, id="tight memory that no setting makes wider"),
        pytest.param(Run(BAGEL, 8), ("H200", 8, 62), {"run_config_processes": 7}, id="a rank less would do it"),
        pytest.param(Run(BAGEL, 8), ("H200", 8, 34), {"run_config_processes": 7}, id="a rank less for the memory"),
        pytest.param(Run(BAGEL, 8), ("A100-80", 8, 2000), None, id="the card that most people rent, eight of them"),
        pytest.param(
            Run(BAGEL, 8),
            ("A100-40", 8, 2000),
            {"run_config_ema": 0, "run_config_optimizer": "adamw_8bit"},
            id="8 × 40 GB: small moments, and no EMA copy",
        ),
        pytest.param(
            Run(BAGEL, 4, sample_tokens=9500),
            ("A100-80", 4, 512),
            {"run_config_ema": 0},
            id="4 × 80 GB: no EMA copy",
        ),
        pytest.param(
            Run(BAGEL, 2, sample_tokens=9500), ("A100-40", 2, 256), {"training_profile": "lora"}, id="train adapters"
        ),
        pytest.param(
            Run(BAGEL, 1, sample_tokens=9500),
            ("A100-40", 1, 128),
            {"training_profile": "lora", "run_config_cpu_offload": True},
            id="one of them: to the last gigabyte it is not resident",
        ),
        pytest.param(
            Run(BAGEL, 1, sample_tokens=9500).adapted(),
            ("4090", 1, 128),
            {"run_config_cpu_offload": True},
            id="adapters on a small card",
        ),
        pytest.param(
            replace(Run(BAGEL, 1, sample_tokens=9500).adapted(), adapters=Lora(256)),
            ("4090", 1, 128),
            {"run_config_cpu_offload": True, "training_lora_rank": 16},
            id="a rank that is too large for it",
        ),
        pytest.param(
            Run(BAGEL, 1, expected_tokens=65_536, most_tokens=131_072, sample_tokens=9500).adapted(),
            ("A100-40", 1, 128),
            {"run_config_cpu_offload": True, "run_config_expected_num_tokens": 58 * TOKEN_STEP},
            id="fewer tokens alone leave no room for the longest sample",
        ),
        pytest.param(
            Run(BAGEL, 2).frozen(ema_copy=True), ("A100-40", 2, 1000), {"run_config_ema": 0}, id="no EMA copy"
        ),
        pytest.param(
            Run(BAGEL, 4),
            ("4090", 4, 128),
            {"training_profile": "lora", "run_config_cpu_offload": True},
            id="the guide's 4 × 24 GB with 128 GB: memory for the layers of all four",
        ),
        pytest.param(
            Run(BAGEL, 1, expected_tokens=16384, sample_tokens=16384).frozen(ema_copy=False),
            ("4090", 1, 128),
            {"run_config_cpu_offload": True},
            id="frozen on one small GPU",
        ),
    ],
)
def test_the_nearest_setting(run: Run, node: tuple[str, int, float], settings: dict[str, Any] | None) -> None:
    card, gpus, memory = node
    found = assess(run, Node(gpus, CARDS[card] * MIB, memory * 1e9, card)).setting
    assert (dict(found.settings) if found else None) == settings


@pytest.mark.parametrize(
    ("ranks", "card", "gpus"),
    [(4, "A100-80", 5), (2, "A100-80", 5), (8, "A100-40", 11), (1, "H200", 3), (1, "B200", 2), (4, "4090", 34)],
    ids=lambda value: str(value),
)
def test_the_fewest_gpus_of_a_kind(ranks: int, card: str, gpus: int) -> None:
    found = nearest_hardware(Run(BAGEL, ranks, sample_tokens=9500), Node(ranks, CARDS[card] * MIB, 4e12, card))
    assert (found.gpus if found else 0) == gpus


UNHURRIED = settings(deadline=None)  # a busy machine is no failure
RUNS = st.builds(
    Run,
    st.just(BAGEL),
    ranks=st.integers(1, 16),
    nodes=st.integers(1, 3),
    expected_tokens=st.integers(1, 65536),
    most_tokens=st.just(131_072),
    sample_tokens=st.integers(500, 20_000),
    text_share=st.floats(0, 1),
    ema_copy=st.booleans(),
    offload=st.booleans(),
    flex=st.booleans(),
    lean=st.booleans(),
    optimizer=st.sampled_from(["adamw", "adamw_fused", "adamw_8bit"]),
)
KINDS = st.one_of(
    RUNS,
    st.builds(lambda run: run.frozen(ema_copy=run.ema_copy), RUNS),
    st.builds(lambda run, rank: replace(run.adapted(), adapters=Lora(rank)), RUNS, st.integers(1, 256)),
)
NODES = st.builds(
    Node, st.integers(1, 16), st.sampled_from([mib * float(MIB) for mib in CARDS.values()]), st.floats(64e9, 4e12)
)


@UNHURRIED
@given(run=KINDS, more=st.integers(1, 16))
def test_more_shards_never_need_more_from_two_on(run: Run, more: int) -> None:
    shards = max(2, run.ranks)
    few, many = (replace(run, nodes=4, shards=number) for number in (shards, shards + more))
    assert gpu_need(many) <= gpu_need(few) * (1 + 1e-9)


@UNHURRIED
@given(run=KINDS, more=st.integers(1, 8192))
def test_more_tokens_never_need_less(run: Run, more: int) -> None:
    assert gpu_need(run.expecting(run.expected_tokens + more)) >= gpu_need(run)
    assert gpu_need(replace(run, sample_tokens=run.sample_tokens + more)) >= gpu_need(run)


@UNHURRIED
@given(run=KINDS)
def test_more_ranks_on_a_host_never_need_less_of_its_memory(run: Run) -> None:
    assert host_floor(replace(run, ranks=run.ranks + 1)) >= host_floor(run) or run.offload  # pinned pieces


@UNHURRIED
@given(run=RUNS)
def test_the_frozen_profile_never_needs_more(run: Run) -> None:
    lean = replace(run, lean=True, offload=False)  # adapters are saved alike in every way
    assert gpu_need(lean.frozen(ema_copy=False)) <= gpu_need(lean.adapted())
    assert gpu_need(run.frozen(ema_copy=run.ema_copy)) <= gpu_need(run)
    assert host_floor(run.frozen(ema_copy=False)) <= host_floor(run)


@UNHURRIED
@given(run=KINDS, node=NODES)
def test_the_nearest_setting_really_fits_and_is_not_looked_for_in_vain(run: Run, node: Node) -> None:
    run = replace(run, ranks=min(run.ranks, node.gpus))
    found = nearest_setting(run, node)
    if fits(run, node):
        return
    if found:
        roomy = replace(node, memory=max(node.memory, host_floor(found.run)))
        assert fits(found.run, roomy)
        assert found.settings
    else:
        roomy = replace(node, memory=4e15)
        assert fits(run, roomy) or not fits(replace(run.frozen(ema_copy=False), ranks=1, shards=0), roomy)


@UNHURRIED
@given(run=KINDS, node=NODES)
def test_no_larger_token_budget_fits(run: Run, node: Node) -> None:
    run = replace(run, ranks=min(run.ranks, node.gpus))
    found = nearest_setting(run, node)
    if not found or list(found.settings) != ["run_config_expected_num_tokens"]:
        return
    tokens = found.settings["run_config_expected_num_tokens"]
    wider = (tokens // TOKEN_STEP + 1) * TOKEN_STEP
    assert tokens < run.expected_tokens
    assert wider >= run.expected_tokens or not fits(run.expecting(wider), replace(node, memory=4e15))


@UNHURRIED
@given(run=KINDS, node=NODES)
def test_no_fewer_gpus_fit(run: Run, node: Node) -> None:
    run = replace(run, ranks=min(run.ranks, node.gpus))
    found = nearest_hardware(run, node)
    most = found.gpus if found else 129
    assert not found or judge_gpu(found.run, node).state == "fits"
    for number in range(run.ranks * run.nodes + 1, most):
        other = replace(run, ranks=number, nodes=1, shards=number)
        assert judge_gpu(other, node).state != "fits"
