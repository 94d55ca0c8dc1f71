"""The class of failure in an error stream."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.failures import (
    FINAL,
    FOLLOWS,
    KINDS,
    failure_of,
    retried,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.places import FIXTURES, ROOT

RECORDED = FIXTURES / "trainer" / "torchrun-2.13.0"
REPORTS = yaml.safe_load((FIXTURES / "trainer" / "reports.yml").read_text())
WORDINGS = yaml.safe_load((FIXTURES / "trainer" / "wordings.yml").read_text())
# The words of one line of the trainer, or of torch, in which nothing varies.
OF_ONE_LINE = {
    "YAML_DIALECT",
    "REGISTRATION_DIALECT",
    "INFO_PATHS_FOREIGN",
    "IMAGES_MISSING",
    "CHECKPOINTS_FOREIGN_NAME",
    "CHECKPOINT_SHARDS_DIFFER",
    "SHARDS_MISMATCH",
    "WEIGHTS_NOT_LOADED",
    "WORKERS_GREW",
    "CHILD_FAILED",
}


def trace(error: str, source: str = "pass") -> str:
    """A traceback as a rank prints it, with torchrun's own block behind."""
    return (
        "[rank1]: Traceback (most recent call last):\n"
        '[rank1]:   File "/srv/blockmoving/MathCanvas/BAGEL-Canvas/train/x.py", line 9, in main\n'
        f"[rank1]:     {source}\n"
        f"[rank1]: {error}\n"
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n"
        "Root Cause (first observed failure):\n[0]:\n  rank      : 1 (local_rank: 1)\n  exitcode  : 1 (pid: 12)\n"
    )


@pytest.mark.parametrize(
    ("name", "kind", "rank"),
    [
        ("raise", "REGISTRATION_DIALECT", 1),
        ("oom", "GPU_OUT_OF_MEMORY", 1),
        ("stepfail", "UNKNOWN", 1),
        ("kill", "RANK_KILLED", 1),
        ("term", "TERMINATED", None),
        ("port", "PORT_TAKEN", None),
    ],
)
def test_the_real_torchrun_is_understood(name: str, kind: str, rank: int | None) -> None:
    found = failure_of((RECORDED / f"{name}.err").read_text())
    assert found is not None
    assert (found.kind, found.rank) == (kind, rank)
    assert found.lines


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: f"{report['kind']} {report['source']}")
def test_what_people_reported_is_understood(report: dict[str, str]) -> None:
    found = failure_of(report["text"])
    assert found is not None
    assert found.kind == report["kind"]
    assert report.get("shows", "") in found.line


@pytest.mark.parametrize(
    ("kind", "words"),
    [pytest.param(kind, words, id=f"{kind} {source}") for kind, of in WORDINGS.items() for source, words in of.items()],
)
def test_every_wording_reaches_its_class(kind: str, words: str) -> None:
    found = failure_of(words)
    assert found is not None
    assert found.kind == kind


def test_each_class_is_reached_by_five_real_texts() -> None:
    count = Counter([*(one["kind"] for one in REPORTS), *(kind for kind, of in WORDINGS.items() for _ in of)])
    classes = {kind for kind, *_ in (*KINDS, *FOLLOWS)} | {"RANK_KILLED"}
    assert {kind: count[kind] for kind in classes - OF_ONE_LINE if count[kind] < 5} == {}
    assert set(count) <= classes


def test_a_wrong_interface_is_answered_with_the_variable_that_names_the_right_one() -> None:
    report = next(one for one in REPORTS if "fe80::" in one["text"])
    found = failure_of(report["text"])
    assert found is not None
    assert "NCCL_SOCKET_IFNAME" in found.lines[-1]


def test_the_compilers_word_about_our_own_code_is_no_missing_compiler() -> None:
    found = failure_of("/x/kernel.cu:4:10: error: identifier x is undefined\n")
    assert found is not None
    assert found.kind == "UNKNOWN"


def test_lines_of_cpp_code_that_end_nothing_are_no_failure() -> None:
    text = "[rank3]:[E924 03:04:05.100000000 ProcessGroupNCCL.cpp:684] [Rank 3] To avoid data inconsistency, we wait.\n"
    assert failure_of(text) is None


@pytest.mark.parametrize(
    ("kind", "error", "source"),
    [
        ("YAML_DIALECT", "AssertionError", "assert 'dataset_names' in dataset_args.keys()"),
        ("NO_GPU", "AssertionError", "assert torch.cuda.is_available()"),
        ("UNKNOWN", "AssertionError", "assert num_tokens > 0"),
        ("REGISTRATION_DIALECT", "KeyError: 'data_dir'", ""),
        ("REGISTRATION_DIALECT", "KeyError: 'blockmoving_train'", "meta_info = DATASET_INFO[group][item]"),
        ("WORKERS_GREW", "KeyError: 2", "row_start_id = data_status[worker_id]"),
        ("UNKNOWN", "KeyError: 'step'", ""),
        ("INFO_PATHS_FOREIGN", "IndexError: list index out of range", "if isinstance(self.data_paths[0], tuple):"),
        ("UNKNOWN", "IndexError: list index out of range", "x = y[3]"),
        ("IMAGES_MISSING", "IndexError: tensors used as indices must be long, byte or bool tensors", ""),
        ("CHECKPOINTS_FOREIGN_NAME", "ValueError: invalid literal for int() with base 10: '.ipynb_checkpoints'", ""),
        (
            "CHECKPOINT_SHARDS_DIFFER",
            "FileNotFoundError: [Errno 2] No such file or directory: '/c/0000500/optimizer.00000-of-00008.pt'",
            "",
        ),
        ("CHECKPOINT_INCOMPLETE", "FileNotFoundError: [Errno 2] No such file or directory: '/c/1/scheduler.pt'", ""),
        ("UNKNOWN", "FileNotFoundError: [Errno 2] No such file or directory: '/c/vocab.json'", ""),
        ("CHECKPOINT_INCOMPLETE", "EOFError: Ran out of input", ""),
        (
            "CHECKPOINT_INCOMPLETE",
            "safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file not fully",
            "",
        ),
        (
            "CHECKPOINT_INCOMPLETE",
            "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory",
            "",
        ),
        ("DISK_FULL", "safetensors_rust.SafetensorError: Error while serializing: No space left on device", ""),
        ("DISK_FULL", "OSError: [Errno 28] No space left on device", ""),
        ("GPU_LOST", "RuntimeError: CUDA error: GPU is lost", ""),
        ("GPU_FAULT", "RuntimeError: CUDA error: an illegal memory access was encountered", ""),
        ("GPU_FAULT", "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered", ""),
        ("TIMEOUT", "RuntimeError: [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=9)", ""),
        ("TIMEOUT", "torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError", ""),
        ("PEER_LOST", "torch.distributed.DistStoreError: timed out after 600000ms", ""),
        ("WORKER_KILLED", "RuntimeError: DataLoader worker (pid 14) is killed by signal: Killed.", ""),
        ("WORKER_KILLED", "RuntimeError: DataLoader worker (pid(s) 14, 15) exited unexpectedly", ""),
        ("WEIGHTS_NOT_LOADED", "RuntimeError: /m/ema.safetensors has no weights for llm2vae.bias", ""),
        ("UNKNOWN", "RuntimeError: the tensor has no weights", ""),
        ("SHARDS_MISMATCH", "RuntimeError: Mesh should not be bigger than default world size 2, but found 4", ""),
        ("FLAG_UNKNOWN", "ValueError: Some specified arguments are not used by the HfArgumentParser: ['--x']", ""),
        ("IMPORT_MISSING", "ModuleNotFoundError: No module named 'decord'", ""),
        ("COMPILER_MISSING", "torch._inductor.exc.InductorError: FileNotFoundError: [Errno 2] 'gcc'", ""),
        ("GPU_OUT_OF_MEMORY", "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", ""),
    ],
)
def test_each_way_to_die_has_its_class(kind: str, error: str, source: str) -> None:
    found = failure_of(trace(error, source))
    assert found is not None
    assert found.kind == kind
    assert found.rank == 1
    assert found.line == error


@pytest.mark.parametrize(("signal", "kind"), [(15, "TERMINATED"), (9, "RANK_KILLED"), (14, "RANK_KILLED")])
def test_a_rank_that_a_signal_ended_is_told_by_the_signal(signal: int, kind: str) -> None:
    block = trace("").split("\n", 4)[4].replace("exitcode  : 1", f"exitcode  : -{signal}")
    found = failure_of(block)
    assert found is not None
    assert (found.kind, found.line) == (kind, f"rank 1 was ended by signal {signal}")


def test_a_rank_that_lost_its_peer_does_not_hide_the_cause() -> None:
    lost = "[rank0]: torch.distributed.DistBackendError: NCCL error in: remote process exited\n"
    found = failure_of(lost + trace("KeyError: 'data_dir'"))
    assert found is not None
    assert found.kind == "REGISTRATION_DIALECT"
    alone = failure_of(lost)
    assert alone is not None
    assert alone.kind == "PEER_LOST"


def test_the_kernels_word_decides_when_memory_ran_out() -> None:
    found = failure_of((RECORDED / "kill.err").read_text(), "oom-kill")
    assert found is not None
    assert found.kind == "HOST_OUT_OF_MEMORY"


def test_warnings_and_step_lines_are_no_failure() -> None:
    text = "/srv/x.py:1: UserWarning: Error in something\n[2026-11-24 08:00:00] (step=0000010) Train Loss ce: 0.5, \n"
    assert failure_of(text) is None


@given(st.text(max_size=300))
def test_any_text_can_be_judged(text: str) -> None:
    failure_of(text)


def test_what_a_person_has_to_mend_is_not_tried_again_and_all_else_is() -> None:
    known = {kind for kind, _, _ in KINDS}
    passing = {"GPU_FAULT", "HOST_OUT_OF_MEMORY", "TIMEOUT", "WORKER_KILLED", "PORT_TAKEN", "PEER_LOST"}
    assert {kind for kind in known if retried(kind)} == passing
    assert all(retried(kind) for kind in ("RANK_KILLED", "PEER_LOST", "HANG_NO_STEP", "UNKNOWN", "HOST_OUT_OF_MEMORY"))


def test_each_class_stands_in_the_documentation_with_its_verdict() -> None:
    lines = (ROOT / "docs" / "training.md").read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    told = {name: row[-1] for row in rows if len(row) == 3 for name in re.findall(r"`([A-Z_]+)`", row[0])}
    for kind in {kind for kind, _, _ in KINDS} | FINAL:
        assert told[kind].startswith("no" if kind in FINAL else "yes"), kind
