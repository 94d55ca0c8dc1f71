"""The demo's trainer really trains, saves, resumes and dies as the contract says.

Needs an interpreter with torch, named by MINICANVAS_PYTHON: the project's own environment has none.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.minicanvas import tiny_model
from demo.puzzles import generate
from tests.integration import minicanvas_run as spoilt
from tests.integration.minicanvas_run import PYTHON, Run, cut, kill, lose, wait_for

pytestmark = pytest.mark.skipif(not PYTHON, reason="MINICANVAS_PYTHON names no interpreter with torch")

TWO = "_IncompatibleKeys(missing_keys=['latent_pos_embed.pos_embed', 'vit_pos_embed.pos_embed'], unexpected_keys=[])"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder and the user's data as it comes."""
    folder = tmp_path_factory.mktemp("made")
    tiny_model.write_model(folder / "model")
    generate.write_dataset(folder / "output", rows_train=120, rows_test=12)
    return folder


@pytest.fixture
def run(tmp_path: Path, made: Path) -> Run:
    return Run(tmp_path, made)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Run:
    """A run of one process that has saved its step 3, and was not to go further."""
    run = Run(tmp_path_factory.mktemp("saved"), made)
    assert run(total_steps=3) == 0, run.stderr
    return run


@pytest.fixture
def resumed(run: Run, saved: Run) -> Run:
    """A run with another one's whole checkpoint 0000003, for a test to break."""
    shutil.rmtree(run.checkpoints)
    shutil.copytree(saved.checkpoints, run.checkpoints)
    return run


# training


def test_two_processes_learn_save_and_end(run: Run) -> None:
    assert run(2, total_steps=60, save_every=20, num_workers=2, debug_batches=1, log_every=5) == 0, run.stderr
    log = (run.out / "log.txt").read_text()
    assert f"] Loading checkpoint from {run.made}/model.\n" in log
    assert log.count(TWO) == 2
    assert "Training from scratch." not in log
    assert re.match(r"\[\x1b\[34m\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\x1b\[0m\] Training arguments ", log)
    assert ">>> Starting data debugging for 1 batches on RANK 0..." in log
    assert "] Training for 60 steps, starting at 0...\n" in log
    assert re.findall(r"Saving checkpoint at step (\d+)\.\.\.", log) == ["20", "40", "60"]
    assert log.rstrip().endswith("Done!")
    assert "Reached total_steps (60), stopping training." in log
    assert all(line in run.stderr for line in log.splitlines() if "step=" in line)
    losses = run.steps()
    assert list(losses) == list(range(0, 61, 5))
    ce, mse = ([losses[step][kind] for step in losses] for kind in (0, 1))
    assert ce[0] < 1.5
    assert sum(ce[-3:]) < sum(ce[:3]) / 2
    assert sum(mse[-4:]) < sum(mse[:4]) * 0.85
    assert "embed_tokens" in run.stdout
    assert "'interleave_reasoning': {'dataset_names': ['blockmoving_train']" in run.stdout
    assert sorted(p.name for p in (run.checkpoints / "0000060").iterdir()) == [
        "data_status.pt", "ema.safetensors", "model.safetensors",
        "optimizer.00000-of-00002.pt", "optimizer.00001-of-00002.pt", "scheduler.pt",
    ]  # fmt: skip
    assert sorted(p.name for p in (run.checkpoints / "0000040").iterdir()) == ["ema.safetensors", "model.safetensors"]
    header = (run.checkpoints / "0000060/model.safetensors").read_bytes()[8:600].decode("latin-1")
    assert '"dtype":"BF16"' in header
    assert "F32" not in header
    # started again when it is finished
    assert run(2, total_steps=60, save_every=20) == 0
    assert "Training for 60 steps, starting at 61...\n" in run.stderr
    assert "Reached total_steps (60)" in run.stderr
    assert not run.steps()
    assert len((run.out / "log.txt").read_text()) > len(log), "the log is appended to"


def test_without_the_weights_it_starts_at_the_logarithm_of_the_vocabulary(run: Run) -> None:
    assert run(total_steps=1, resume_from="/nonexistent/model") == 0, run.stderr
    assert "] Training from scratch.\n" in run.stderr
    assert run.steps()[0][0] > 5.8  # ln 512 is 6.2; loaded, it is about 1


def test_a_killed_run_goes_on_from_its_newest_checkpoint(run: Run) -> None:
    process = run.start(2, total_steps=4000, save_every=10)
    wait_for(lambda: "step=0000014" in run.stderr)
    kill(run.code)
    process.wait()
    newest = max(int(folder.name) for folder in run.checkpoints.iterdir())
    assert run(2, total_steps=newest + 5, save_every=10) == 0, run.stderr
    assert f"Loading checkpoint from {run.checkpoints}/{newest:07d}." in run.stderr
    losses = run.steps()
    assert list(losses) == list(range(newest + 1, newest + 6))
    assert losses[newest + 1][0] < 3, "it goes on from what it had learned"
    assert "row#0\n" not in run.stdout, "and from where it stood in the data"


def test_a_run_of_two_nodes_leaves_an_empty_folder_on_the_second(run: Run, tmp_path: Path) -> None:
    """Two torchruns with a checkpoint folder each: no shared file system, as on the demo's hosts."""
    other = tmp_path / "second"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    for rank, folder in enumerate((run.checkpoints, other)):
        folder.mkdir(exist_ok=True)
        torchrun = ["--nnodes=2", f"--node_rank={rank}", "--nproc_per_node=2", "--master_addr=127.0.0.1"]
        flags = run.flags(num_shard=2, num_replicate=2, total_steps=3, num_workers=0, checkpoint_dir=folder)
        command = [PYTHON, "-m", "torch.distributed.run", *torchrun, f"--master_port={port}"]
        with (tmp_path / f"node{rank}").open("wb") as log:
            command += ["-m", "train.pretrain_unified_navit", *flags]
            nodes.append(subprocess.Popen(command, cwd=run.code, stdout=log, stderr=log))
    try:
        assert [node.wait(120) for node in nodes] == [0, 0], (tmp_path / "node1").read_text()
    finally:
        kill(run.code)
    assert sorted(p.name for p in (run.checkpoints / "0000003").glob("optimizer*")) == [
        "optimizer.00000-of-00002.pt", "optimizer.00001-of-00002.pt",
    ]  # fmt: skip
    assert list((other / "0000003").iterdir()) == []
    assert run(checkpoint_dir=other) == 1
    assert re.search(r"FileNotFoundError: .*0000003/model\.safetensors", run.stderr)


# how it dies


@pytest.mark.parametrize(
    ("prepare", "flags", "last_words"),
    [
        pytest.param(spoilt.guide_yaml, {}, r"AssertionError", id="the guide's yaml"),
        pytest.param(spoilt.unregistered, {}, r"KeyError: 'blockmoving_cot'", id="a group that is not registered"),
        pytest.param(spoilt.guide_entry, {}, r"KeyError: 'data_dir'", id="the guide's registration"),
        pytest.param(spoilt.foreign_info, {}, r"IndexError: list index out of range", id="another machine's info file"),
        pytest.param(
            None, {"num_shard": 4}, r"RuntimeError: Mesh should not be bigger than default world size", id="shards"
        ),
        pytest.param(None, {"learning_rate": 1}, r"ValueError: Some specified arguments are not used", id="a flag"),
        pytest.param(None, {"freeze_llm": True}, r"ValueError: Must flatten tensors with uniform", id="freeze_llm"),
        pytest.param(None, {"enable_wandb": True}, r"ModuleNotFoundError: No module named 'wandb'", id="no wandb"),
        pytest.param(spoilt.no_solution_pictures, {}, r"IndexError: tensors used as indices must be", id="no picture"),
        pytest.param(spoilt.no_tokenizer, {"model_path": "../model"}, r"FileNotFoundError: .*vocab\.json", id="vocab"),
        pytest.param(
            None, {"finetune_from_ema": False}, r"FileNotFoundError: .*model/model\.safetensors", id="not from ema"
        ),
        pytest.param(
            None, {"resume_model_only": False, "finetune_from_ema": False, "resume_from": "ema-as-model"},
            r"FileNotFoundError: .*optimizer\.00000-of-00001\.pt", id="weights taken for a checkpoint",
        ),
    ],
)  # fmt: skip
def test_it_dies_at_the_start(
    prepare: Callable[[Run], None] | None, flags: dict[str, Any], last_words: str, run: Run
) -> None:
    if prepare is not None:
        prepare(run)
    if flags.get("resume_from") == "ema-as-model":
        shutil.copytree(run.made / "model", run.root / "model")
        (run.root / "model/ema.safetensors").rename(run.root / "model/model.safetensors")
        flags = {**flags, "resume_from": run.root / "model"}
    assert run(**flags) == 1
    assert re.search(last_words, run.stderr), run.stderr


OPTIMIZER = "optimizer.00000-of-00001.pt"


@pytest.mark.parametrize(
    ("harm", "last_words"),
    [
        pytest.param(cut(OPTIMIZER, 0), r"EOFError", id="an empty optimizer"),
        pytest.param(cut(OPTIMIZER, 0.5), r"PytorchStreamReader failed .*central directory", id="a cut optimizer"),
        pytest.param(cut("data_status.pt", 0.5), r"PytorchStreamReader failed .*central directory", id="a cut status"),
        pytest.param(cut("model.safetensors", 0.5), r"SafetensorError: .*incomplete metadata", id="a cut model"),
        pytest.param(cut("ema.safetensors", 0.5), r"SafetensorError: .*incomplete metadata", id="a cut ema"),
        pytest.param(lose("scheduler.pt"), r"FileNotFoundError: .*scheduler\.pt", id="no scheduler"),
        pytest.param(lose(OPTIMIZER), r"FileNotFoundError: .*optimizer\.00000-of-", id="no optimizer"),
        pytest.param(
            lambda f: (f.parent / "0000009").mkdir(), r"FileNotFoundError: .*0000009/model", id="an empty one"
        ),
        pytest.param(
            lambda f: (f.parent / ".aside").mkdir(), r"ValueError: invalid literal for int\(\)", id="another name"
        ),
    ],
)
def test_a_broken_checkpoint_makes_every_start_fail(
    harm: Callable[[Path], None], last_words: str, resumed: Run
) -> None:
    harm(resumed.checkpoints / "0000003")
    assert resumed() == 1
    assert re.search(last_words, resumed.stderr), resumed.stderr


@pytest.mark.parametrize(
    ("name", "said"), [("data_status.pt", "row#0"), ("ema.safetensors", "replica.*model.safetensors")]
)
def test_what_is_missed_in_silence(name: str, said: str, resumed: Run) -> None:
    lose(name)(resumed.checkpoints / "0000003")
    assert resumed() == 0, resumed.stderr
    assert re.search(said, resumed.stdout + resumed.stderr)
    assert list(resumed.steps()) == [4, 5, 6]


def test_another_number_of_shards_cannot_resume(resumed: Run) -> None:
    assert resumed(2) == 1
    assert re.search(r"FileNotFoundError: .*optimizer\.0000[01]-of-00002\.pt", resumed.stderr)


def test_more_workers_cannot_resume(resumed: Run) -> None:
    assert resumed(num_workers=2) == 1
    assert "KeyError: 1" in resumed.stderr


def users_files_as_they_are(run: Run) -> None:
    shutil.copy(run.made / "output/train_split.parquet", run.parquet)
    run.info({str(run.parquet): {"num_row_groups": 1}})


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        pytest.param(users_files_as_they_are, "Failed to load image with index 0.0: only integers", id="a null index"),
        pytest.param(lambda run: run.prepare(1), "interleave_reasoning repeat in rank-1 worker-0", id="one row group"),
    ],
)
def test_it_starves_and_does_not_end(prepare: Callable[[Run], None], said: str, run: Run) -> None:
    prepare(run)
    processes = 1 if prepare is users_files_as_they_are else 2
    process = run.start(processes)
    try:
        wait_for(lambda: said in run.stdout)
        size = len(run.stdout)
        wait_for(lambda: len(run.stdout) > 3 * size)  # the log grows without end
        assert process.poll() is None
        assert "Training for 6 steps, starting at 0..." in run.stderr
        assert not run.steps()
    finally:
        kill(run.code)


def test_samples_that_are_all_too_long_starve_it(run: Run) -> None:
    process = run.start(max_num_tokens_per_sample=4096)
    try:
        wait_for(lambda: "skip a sample with length" in run.stdout and "repeat in rank-0" in run.stdout)
        assert process.poll() is None
        assert not run.steps()
    finally:
        kill(run.code)


def test_sigterm_ends_it_at_once_and_saves_nothing(run: Run) -> None:
    process = run.start(2, total_steps=4000, save_every=4000)
    try:
        wait_for(lambda: "step=0000002" in run.stderr)
        process.terminate()
        assert process.wait(20) == 1
    finally:
        kill(run.code)
    assert "Received 15 death signal" in run.stderr or "Received Signals.SIGTERM death signal" in run.stderr
    assert list(run.checkpoints.iterdir()) == []
