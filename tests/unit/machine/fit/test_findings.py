"""What a machine must have: the planner's numbers as findings, with the nearest setting that fits as their remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import Finding
from ansible_collections.canvas.fleet.plugins.module_utils.machine.facts import Facts, FileSystem, Init
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit import findings as machine
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.choose import FULL_RATE
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.disks import run_parts
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.memory import Run
from ansible_collections.canvas.fleet.plugins.module_utils.machine.gpu import Gpu
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import model_of

from tests.fuzz import fleet

GB = 10**9
BAGEL = 14_607_260_128
A100, H200 = 81920 * 2**20, 143771 * 2**20
SETTINGS: dict[str, Any] = {
    "training_profile": "full",
    "training_lora_rank": 32,
    "training_lora_merge": "at_end",
    "training_lora_targets": "all",
    "training_lora_connectors": True,
    "run_config_optimizer": "adamw",
    "canvas_code_lean": True,
    "run_config_total_steps": 1530,
    "run_config_save_every": 510,
    "run_config_del_previous_state": True,
    "run_config_cpu_offload": False,
    "run_config_num_shard": 0,
    "run_config_ema": 0.995,
    "run_config_finetune_from_hf": True,
    "run_config_use_flex": True,
    "run_config_expected_num_tokens": 8192,
    "run_config_max_num_tokens": 32768,
    "run_config_max_num_tokens_per_sample": 16384,
    "run_config_extra_flags": {},
    "weights_parameters": BAGEL,
    "weights_bytes": 29_560_000_000,
    "nvidia_gpu_expected": True,
}


FACTS = Facts("3.11.2", 2000 * GB, Init("systemd", "252"))
HOST = machine.Machine(FACTS)


def judged(
    gpus: int = 8,
    card: int = H200,
    *,
    memory: int = 2000 * GB,
    free: int = 5000 * GB,
    processes: int = 0,
    hosts: int = 1,
    rank: int = 0,
    merged: int = 0,
    **settings: Any,
) -> list[Finding]:
    names = tuple(f"h{number}" for number in range(hosts))
    topology = Topology("r", names, rank, processes or max(1, gpus), 4, "localhost", 29501)
    disk = FileSystem("/srv", 1, free, 9000 * GB)
    folders = ("weights_dir", "training_checkpoint_dir", "training_results_dir")
    facts = replace(FACTS, memory_bytes=memory, disks=dict.fromkeys(folders, disk), models_bytes=merged)
    cards = tuple(Gpu(number, "GPU", card) for number in range(gpus))
    told = {**SETTINGS, **settings}
    fit = machine.fit_of(machine.Machine(facts, cards), told, topology)
    return machine.check(facts, fit, told, topology)


LONG_BATCHES = {"run_config_expected_num_tokens": 65536, "run_config_max_num_tokens": 131072}


OLD = {"canvas_code_lean": False}
LORA = {"training_profile": "lora", "run_config_ema": 0.0}


@pytest.mark.parametrize(
    ("host", "codes"),
    [
        pytest.param({}, [], id="8 × 141 GB hold the full fine-tuning"),
        pytest.param({"gpus": 0}, [], id="no GPU yet is for the nvidia role to judge"),
        pytest.param({"gpus": 0, "nvidia_gpu_expected": False}, [], id="no GPU by the user's own word"),
        pytest.param({"gpus": 4, "processes": 8}, ["GPU_COUNT_SHORT"], id="more processes than GPUs"),
        pytest.param({"gpus": 4, "card": A100}, ["GPU_MEMORY_SHORT"], id="4 × 80 GB die in optimizer.step (Bagel#215)"),
        pytest.param({"card": A100}, [], id="8 × 80 GB hold the full fine-tuning"),
        pytest.param({"card": 46068 * 2**20}, ["GPU_MEMORY_SHORT"], id="8 × 48 GB do not"),
        pytest.param(
            {"card": 46068 * 2**20, "hosts": 2, "run_config_num_shard": 16}, [], id="16 × 48 GB as shards of one run"
        ),
        pytest.param({"card": A100, "training_profile": "frozen"}, [], id="8 × 80 GB hold the frozen profile"),
        pytest.param(
            {"card": 48 * GB, "training_profile": "frozen", **LONG_BATCHES},
            ["GPU_MEMORY_TIGHT"],
            id="long batches on 8 × 48 GB fit only if their activations are less than estimated",
        ),
        pytest.param({"memory": 34 * GB}, ["HOST_MEMORY_SHORT"], id="8 ranks in 34 GB of RAM"),
        pytest.param({"memory": 60 * GB}, ["HOST_MEMORY_TIGHT"], id="8 ranks in 60 GB push the file out"),
        pytest.param({"memory": 128 * GB}, [], id="8 ranks in 128 GB of RAM"),
        pytest.param({**OLD, "memory": 1000 * GB}, ["HOST_MEMORY_SHORT"], id="as upstream, 1 TB is short (Bagel#180)"),
        pytest.param({**OLD, "memory": 1100 * GB}, ["HOST_MEMORY_TIGHT"], id="as upstream, 1.1 TB push the file out"),
        pytest.param({**OLD, "memory": 1300 * GB}, [], id="as upstream, 1.3 TB do"),
        pytest.param(
            {"run_config_expected_num_tokens": 190_000, "run_config_max_num_tokens": 400_000},
            ["GPU_MEMORY_TIGHT"],
            id="8 × 141 GB and a batch of 206,383 tokens: 165 GB as estimated, 126 GB for certain",
        ),
        pytest.param({"free": 400 * GB}, ["DISK_SHORT"], id="weights and checkpoints of three saves on 400 GB"),
        pytest.param({"free": 450 * GB}, [], id="weights and checkpoints of three saves on 450 GB"),
        pytest.param({**LORA, "free": 60 * GB}, ["DISK_SHORT"], id="weights, small checkpoints and a merged model"),
        pytest.param({**LORA, "free": 70 * GB}, [], id="of adapters on 70 GB"),
        pytest.param({**LORA, "free": 40 * GB, "merged": 29_300_000_000}, [], id="where it is merged already"),
        pytest.param({**LORA, "free": 40 * GB, "training_lora_merge": "never"}, [], id="where nothing is merged"),
        pytest.param({"free": 200 * GB, "hosts": 2, "rank": 1}, [], id="the second host keeps no checkpoints"),
    ],
)
def test_what_the_machine_must_have(host: dict[str, Any], codes: list[str]) -> None:
    assert [found.code for found in judged(**host)] == codes


@pytest.mark.parametrize(
    ("host", "found", "expected", "remedy"),
    [
        pytest.param(
            {"gpus": 4, "card": 24564 * 2**20, "memory": 128 * GB},
            "25.8 GB per GPU (GPU), too little in load (39.4 GB: parameters 14.6 GB, EMA copy 14.6 GB, root unit",
            "optimizer.step 89.3 GB",
            "training_profile: lora, run_config_cpu_offload: true",
            id="the guide's recommended 4 × 24 GB with 128 GB",
        ),
        pytest.param(
            {"gpus": 4, "card": A100},
            "too little in optimizer.step (89.3 GB: Adam's moments 29.2 GB,",
            "93.3 GB per GPU at 4 shards",
            "run_config_ema: 0; or 5 × GPU in one run (24.4 GB of host memory in all)",
            id="4 × 80 GB: no EMA copy, or 5 of them",
        ),
        pytest.param(
            {"card": 46068 * 2**20, "hosts": 2},
            "too little in pictures (48.7 GB:",
            "GB per GPU at 8 shards",
            "run_config_num_shard: 16, run_config_num_replicate: 1",
            id="2 × 8 × 48 GB: one model over both hosts",
        ),
        pytest.param(
            {**OLD, "memory": 1000 * GB},
            "1.0 TB",
            "1.2 TB while 8 ranks load, 1.0 TB at the very least",
            "canvas_code_lean: true; or a host with 1.2 TB of memory",
            id="8 ranks in 1 TB as upstream starts them",
        ),
        pytest.param(
            {**LORA, "gpus": 4, "card": 24564 * 2**20, "memory": 128 * GB, "run_config_cpu_offload": True},
            "128.0 GB",
            "152.8 GB while 4 ranks load, 124.4 GB at the very least (107.6 GB for the streamed layers of 4 ranks)",
            "run_config_processes: 3; or a host with 152.8 GB of memory",
            id="pinned copies for all of the guide's 4 × 24 GB",
        ),
        pytest.param(
            {"gpus": 1, "card": 24564 * 2**20, "memory": 24 * GB},
            "too little in load (122.7 GB",
            "351.9 GB per GPU at 1 shard",
            "training_profile: lora, run_config_cpu_offload: true, on a host with 60.1 GB of memory",
            id="one small GPU in a small host needs streamed adapters and another host",
        ),
    ],
)
def test_a_finding_tells_what_is_short_and_what_fits(
    host: dict[str, Any], found: str, expected: str, remedy: str
) -> None:
    first = judged(**host)[0]
    assert found in first.found
    assert expected in first.expected
    assert remedy == first.remedy


def test_the_longest_sample_of_the_data_and_its_text_count() -> None:
    run = machine.run_of(
        replace(HOST, sample_tokens=9500, text_share=0.05), SETTINGS, Topology("r", ("h",), 0, 8, 4, "", 0)
    )
    assert (run.sample_tokens, run.batch_tokens, round(run.text_share, 3)) == (9500, 19000, 0.05)


@pytest.mark.parametrize(
    ("settings", "lean"),
    [
        pytest.param({}, True, id="as it is"),
        pytest.param({"canvas_code_lean": False}, False, id="taken back"),
        pytest.param({"run_config_extra_flags": {"vit_rope": True}}, False, id="a ViT whose tables the file lacks"),
        pytest.param({"run_config_finetune_from_hf": False}, False, id="parts of several folders"),
    ],
)
def test_a_start_is_planned_as_the_patch_makes_it(settings: dict[str, Any], lean: bool) -> None:
    topology = Topology("r", ("h",), 0, 8, 4, "", 0)
    assert machine.run_of(HOST, {**SETTINGS, **settings}, topology).lean is lean


def test_flags_without_a_variable_of_their_own_are_planned_too() -> None:
    topology = Topology("r", ("h",), 0, 8, 4, "", 0)
    extra = machine.run_of(HOST, {**SETTINGS, "run_config_extra_flags": {"freeze_vit": "True"}}, topology)
    assert extra.freeze_vit
    assert not extra.freeze_llm
    assert extra.trained == BAGEL - 32_241_664 - 402_552_736


def test_a_run_of_the_default_settings_is_the_arithmetics_default() -> None:
    """But for the optimizer: the arithmetic's default is upstream's, which the measurements are of."""
    told, _ = fleet.settings(fleet.Host("a"))
    assert float(told["run_config_lr"]) == FULL_RATE
    planned = machine.run_of(HOST, told, Topology("r", ("h",), 0, 8, 4, "", 0))
    assert planned == Run(model_of(BAGEL, None), 8, shards=8, optimizer="adamw_fused")


@pytest.mark.parametrize(
    ("profile", "ema", "copied"),
    [
        pytest.param("full", 0.0, False, id="the patched code skips it with --ema 0"),
        pytest.param("full", 0.995, True, id="and copies it otherwise"),
        pytest.param("frozen", 0.0, False, id="the same with frozen weights"),
        pytest.param("frozen", 0.995, True, id="and as slow as it is"),
        pytest.param("lora", 0.995, False, id="the adapters never have one"),
    ],
)
def test_when_an_ema_copy_is_made(profile: str, ema: float, copied: bool) -> None:
    settings = {**SETTINGS, "training_profile": profile, "run_config_ema": ema}
    assert machine.run_of(HOST, settings, Topology("r", ("h",), 0, 1, 4, "", 0)).ema_copy is copied


T = BAGEL - 32_241_664  # trained


@pytest.mark.parametrize(
    ("rank", "settings", "copies"),
    [
        pytest.param(0, {}, 0, id="the first host writes its own"),
        pytest.param(1, {}, 2, id="another one copies what it resumes from, and the one before stays"),
        pytest.param(1, {"training_shared_checkpoints": True}, 0, id="a folder that all hosts see"),
        pytest.param(1, {"run_config_save_every": 1530}, 1, id="one save is all there is"),
    ],
)
def test_copies_of_checkpoints_take_room_on_the_other_hosts(rank: int, settings: dict[str, Any], copies: int) -> None:
    given = {**SETTINGS, "training_keep_last": 0, "training_peer_port": 29611, **settings}
    topology = Topology("r", ("a", "b"), rank, 8, 4, "10.0.0.1", 29501)
    parts = run_parts(machine.run_of(HOST, given, topology), machine.saves_of(given, topology))
    assert parts.get("copies of the first host's", 0) == copies * (4 * BAGEL + 8 * T)


@pytest.mark.parametrize(
    ("saves", "models", "states"),
    [
        pytest.param({}, 3, 2, id="without a guard: the older state goes when the new one is whole"),
        pytest.param({"run_config_del_previous_state": False}, 3, 3, id="every state stays"),
        pytest.param({"training_keep_last": 0}, 3, 3, id="with it two whole ones stay, and the third is written"),
        pytest.param({"training_keep_last": 0, "run_config_save_every": 153}, 10, 3, id="… of ten saves, too"),
        pytest.param({"training_keep_last": 2, "run_config_save_every": 153}, 3, 3, id="older folders are removed"),
        pytest.param({"training_keep_last": 4, "run_config_save_every": 153}, 5, 5, id="four and the fifth"),
        pytest.param(
            {"training_keep_last": 2, "training_keep_every": 306, "run_config_save_every": 153},
            6,
            6,
            id="every second of the older ones (306, 612, 918) beside two and the one that is written",
        ),
        pytest.param({"run_config_save_every": 2000}, 0, 0, id="no save at all"),
    ],
)
def test_the_disk_at_its_fullest_moment(saves: dict[str, Any], models: int, states: int) -> None:
    topology = Topology("r", ("h",), 0, 8, 4, "", 0)
    run = machine.run_of(HOST, SETTINGS, topology)
    parts = run_parts(run, machine.saves_of({**SETTINGS, **saves}, topology))
    assert sum(parts.values()) == pytest.approx(models * BAGEL * 4 + states * T * 8)


@pytest.mark.parametrize(
    ("free", "settings", "remedy"),
    [
        pytest.param(
            # 10 · 58.43 + 3 · 116.60 + 29.56 = 963.7 GB of 600
            600 * GB,
            {"run_config_save_every": 153, "training_keep_last": 0},
            "training_keep_last: 2 (older checkpoints are removed); or run_config_save_every: 510; or 363.7 GB more on "
            "the disk of weights_dir and training_checkpoint_dir",
            id="ten saves: rotation, or three of them",
        ),
        pytest.param(
            250 * GB,
            {},
            "run_config_save_every: 1530; or 188.0 GB more on the disk of weights_dir and training_checkpoint_dir",
            id="one save fits where three do not",
        ),
        pytest.param(
            100 * GB, {}, "338.0 GB more on the disk of weights_dir and training_checkpoint_dir", id="not even one"
        ),
    ],
)
def test_what_to_give_up_for_a_small_disk(free: int, settings: dict[str, Any], remedy: str) -> None:
    assert [(found.code, found.remedy) for found in judged(free=free, **settings)] == [("DISK_SHORT", remedy)]


@pytest.mark.parametrize(
    ("settings", "rate", "download", "save"),
    [
        pytest.param({}, 0, 29_560 / 110, 175.03, id="a line of 1 Gbit/s and a disk of 1 GB/s"),
        pytest.param({}, 500e6, 29_560 / 500, 175.03, id="as measured by the last download"),
        pytest.param({"fleet_download_rate": 50, "fleet_disk_rate": 250}, 500e6, 29_560 / 50, 700.1, id="as given"),
    ],
)
def test_times_at_the_rate_that_is_known(settings: dict[str, Any], rate: float, download: float, save: float) -> None:
    topology = Topology("r", ("h",), 0, 8, 4, "", 0)
    told = {**SETTINGS, **settings}
    fit = machine.fit_of(replace(HOST, download_rate=rate), told, topology)
    assert fit.seconds == pytest.approx({"download": download, "save": save}, rel=0.001)
    gathered = 8 * BAGEL / 0.5e9  # model and EMA copy in fp32, from eight shards into the memory of the first rank
    as_upstream = machine.fit_of(HOST, {**told, **OLD}, topology).seconds
    assert as_upstream["save"] == pytest.approx(gathered + save, rel=0.001)
