"""The class of a failure stays the same in whatever a launcher, a journal or a console makes of its words."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.error_lines import bare, rank_of
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.failures import FOLLOWS, KINDS, failure_of

from tests.unit.support.places import FIXTURES

FOLDER = FIXTURES / "trainer"
REPORTS = yaml.safe_load((FOLDER / "reports.yml").read_text())
WORDINGS = yaml.safe_load((FOLDER / "wordings.yml").read_text())
NEAR = yaml.safe_load((FOLDER / "near_misses.yml").read_text())
RECORDED = {"raise": "REGISTRATION_DIALECT", "oom": "GPU_OUT_OF_MEMORY", "kill": "RANK_KILLED", "term": "TERMINATED"}
TEXTS = [
    *((kind, source, words) for kind, of in WORDINGS.items() for source, words in of.items()),
    *((one["kind"], one["source"], one["text"]) for one in REPORTS),
    *((kind, name, (FOLDER / f"torchrun-2.13.0/{name}.err").read_text()) for name, kind in RECORDED.items()),
]
# A class without five wordings of its own: one line of the trainer or of torch, in which nothing varies.
FEW = {"SHARDS_MISMATCH", "INFO_PATHS_FOREIGN", "REGISTRATION_DIALECT"}


def front(words: str) -> Callable[[str], str]:
    return lambda text: "".join(f"{words}{line}\n" for line in text.splitlines())


def of_name(text: str) -> str:
    """Python 3.13 colours the error's name and its words apart."""
    return re.sub(r"^([\w.]*(?:Error|Exception))(: .*)?$", "\x1b[1;35m\\1\x1b[0m\x1b[35m\\2\x1b[0m", text, flags=re.M)


WAYS: dict[str, Callable[[str], str]] = {
    "a rank": front("[rank3]: "),
    "a rank without a space": front("[rank3]:"),
    "torchrun --tee": front("[default1]:"),
    "torchrun --tee and a rank": front("[default1]:[rank3]: "),
    "srun --label": front("3: "),
    "mpirun": front("[1,3]<stderr>:"),
    "horovod": front("[3]<stderr>:"),
    "a launcher of a launcher": front("stderr: "),
    "journalctl": front("Nov 30 12:00:01 gpu01 canvas-training-atlas[4242]: "),
    "journalctl -o short-iso": front("2026-11-30T12:00:01+0000 gpu01 bash[4242]: "),
    "a clock": front("2026-11-30 12:00:01 "),
    "a clock with parts of seconds": front("2026-11-30T12:00:01.123456Z "),
    "a clock in brackets": front("[2026-11-30 12:00:01,123] "),
    "a clock without a date": front("12:00:01.123 "),
    "docker compose": front("trainer-1  | "),
    "ray": front("(RayTrainWorker pid=560723, ip=10.0.0.7) "),
    "a group of exceptions": front("  | "),
    "indented": front("    "),
    "red": front("\x1b[31m"),
    "red, with the line cleared": lambda text: front("\x1b[0;31m")(text).replace("\n", "\x1b[0m\x1b[K\n"),
    "Python 3.13": of_name,
    "a window's title": front("\x1b]0;train\x07"),
    "a link": front("\x1b]8;;file:///x\x1b\\"),
    "colours as the journal writes them": front("#033[31m"),
    "a progress bar before": lambda text: f"  3%|3  | 51/1530 [03:28<1:40:49,  4.1s/it]\r{text}",
    "a bar on a launcher's line": lambda text: re.sub(
        r"\A(?=\[?[WE][: ]?\d|ERROR:|WARNING:)", "57% [00:37, 9.42s/it]", text
    ),
    "a logger's level": lambda text: re.sub(r"^(?=[\w.]+(?:Error|Exception):)", "ERROR - ", text, flags=re.M),
}


def classes(change: Callable[[str], str], texts: Sequence[tuple[str, str, str]] = TEXTS) -> dict[str, str | None]:
    """Texts whose class is another after the change, and what it is."""
    found = {(kind, source): failure_of(change(text)) for kind, source, text in texts}
    return {f"{kind} {source}": one.kind if one else None for (kind, source), one in found.items()
            if one is None or one.kind != kind}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_the_class_stays_whatever_stands_around_the_words(way: str) -> None:
    assert classes(WAYS[way]) == {}


@pytest.mark.parametrize("way", ["CUDA ERROR", "cuda error", "Cuda Error"])
def test_the_case_of_cudas_words_does_not_count(way: str) -> None:
    texts = [one for one in TEXTS if "CUDA error" in one[2]]
    assert len(texts) > 10
    assert classes(lambda text: text.replace("CUDA error", way), texts) == {}


@pytest.mark.parametrize("columns", [80, 100, 120])
@pytest.mark.parametrize("between", ["words", "letters"])
def test_a_line_that_a_console_has_broken_is_read_as_one(columns: int, between: str) -> None:
    """An error's own words are looked for in its line and the three below; torchrun's block has short lines."""

    def broken(text: str) -> str:
        if between == "letters":
            return "\n".join(
                line[at : at + columns] for line in text.splitlines() for at in range(0, len(line), columns)
            )
        return "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, columns))

    texts = [
        one
        for one in TEXTS
        if "\n" not in one[2].strip() and re.match(r"(?:\[rank\d\]: )?[\w.]+(?:Error|Exception): ", one[2])
    ]
    texts = [one for one in texts if len(one[2]) > columns and len(one[2]) < 4 * columns]
    assert len(texts) > 5
    assert classes(broken, texts) == {}


@pytest.mark.parametrize("near", NEAR, ids=lambda near: near["source"])
def test_what_only_looks_like_a_class_is_none(near: dict[str, str]) -> None:
    found = failure_of(near["text"])
    assert (found.kind if found else "") == near["kind"]


def test_five_wordings_of_a_class_differ_in_more_than_numbers_and_paths() -> None:
    """A report counts once for each way to say it: ranks, numbers and paths are no words."""
    said: defaultdict[str, set[str]] = defaultdict(set)
    for kind, _source, text in TEXTS:
        plain = re.sub(r"\[rank\d+\]:|/\S+|0x\w+|\d+", "", text.lower())
        said[kind].add(" ".join(re.findall(r"[a-z]+", plain)))
    named = {kind for kind, *_ in (*KINDS, *FOLLOWS)} & set(said)
    assert {kind: len(said[kind]) for kind in named - FEW if len(said[kind]) < 5} == {}


@pytest.mark.parametrize(
    ("line", "words", "rank"),
    [
        pytest.param(
            "[default1]:[rank9]: KeyError: 2", "KeyError: 2", 9, id="the run's rank, not the process's number"
        ),
        pytest.param("[1,3]<stderr>:KeyError: 2", "KeyError: 2", 3, id="mpirun names job and rank"),
        pytest.param("KeyError: 2", "KeyError: 2", None, id="nothing in front"),
        pytest.param("RuntimeError: [Rank 3] x", "RuntimeError: [Rank 3] x", None, id="words of the error stay"),
    ],
)
def test_what_stands_in_front_is_taken_away_and_names_the_rank(line: str, words: str, rank: int | None) -> None:
    assert (bare(line), rank_of(line)) == (words, rank)


@pytest.mark.parametrize(
    ("code", "kind", "signal"),
    [
        pytest.param("137", "RANK_KILLED", 9, id="a shell's number of SIGKILL"),
        pytest.param("143", "TERMINATED", 15, id="a shell's number of SIGTERM"),
        pytest.param("-2", "TERMINATED", 2, id="an interrupt"),
        pytest.param("-1", "TERMINATED", 1, id="a terminal that was closed"),
        pytest.param("-11", "RANK_KILLED", 11, id="a crash"),
    ],
)
def test_torchruns_block_names_the_signal_in_each_of_its_forms(code: str, kind: str, signal: int) -> None:
    for head in ("Root Cause (first observed failure):", "Root Cause:"):
        found = failure_of(f"{head}\n[0]:\n  rank      : 1 (local_rank: 1)\n  exitcode  : {code} (pid: 12)\n")
        assert found is not None
        assert (found.kind, found.rank, found.line) == (kind, 1, f"rank 1 was ended by signal {signal}")


def test_an_exit_code_of_the_trainers_own_is_no_signal() -> None:
    for code in ("1", "128", "255"):
        assert failure_of(f"Root Cause:\n[0]:\n  rank : 1\n  exitcode : {code} (pid: 12)\n") is None


STOPPED = (
    "W1130 12:00:01.000000 7 torch/distributed/elastic/agent/server/api.py:719] Received 15 death signal, shutting down"
)
LOST = "[rank1]: torch.distributed.DistBackendError: NCCL error in: remote process exited"


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        pytest.param((STOPPED, LOST), "TERMINATED", id="what it broke by its end came later"),
        pytest.param((LOST, STOPPED), "PEER_LOST", id="it was stopped after it had lost a peer"),
        pytest.param((LOST, "./x.sh: line 3:  77 Killed     torchrun"), "RANK_KILLED", id="a kill is the cause"),
        pytest.param(("[rank0]: KeyboardInterrupt", STOPPED), "TERMINATED", id="an interrupt is no unknown error"),
        pytest.param(("[rank0]: Exception: boom", STOPPED), "UNKNOWN", id="an error without a name of its own"),
    ],
)
def test_of_an_end_and_what_it_broke_the_cause_is_named(lines: tuple[str, ...], kind: str) -> None:
    found = failure_of("\n".join(lines))
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("ImportError: libstdc++.so.6: version `GLIBCXX_3.4.32' not found", "newer C library"),
        ("RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.", "newer driver"),
        ("RuntimeError: out of resource: shared memory, Required: 2, Hardware limit: 1", "GPU's chip"),
    ],
)
def test_a_cause_that_the_class_does_not_show_has_its_remedy(text: str, hint: str) -> None:
    found = failure_of(text)
    assert found is not None
    assert hint in found.lines[-1]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("HOST_OUT_OF_MEMORY", "pyarrow.lib.ArrowMemoryError: malloc of size 64 failed"),
        ("HOST_OUT_OF_MEMORY", "kernel: oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),task=python"),
        ("NO_GPU", "RuntimeError: Attempting to deserialize an object but torch.cuda.is_available() is False."),
        ("IMPORT_MISSING", "/x/python: error while loading shared libraries: libpython3.10.so.1.0: no such file"),
        ("DISK_FULL", "OSError: 67108864 requested and 3207152 written"),
        ("CHECKPOINT_INCOMPLETE", "zipfile.BadZipFile: File is not a zip file"),
        ("WANDB_LOGIN", "wandb.errors.errors.CommError: user is not logged in"),
        ("COMPILER_MISSING", "torch._inductor.exc.TritonMissing: Cannot find a working triton installation."),
        ("GPU_ARCHITECTURE", "torch._inductor.exc.GPUTooOldForTriton: Found a GPU of capability 6.1"),
        ("GPU_ARCHITECTURE", "nvcc fatal   : Unsupported gpu architecture 'compute_120'"),
        ("GPU_FAULT", "RuntimeError: Triton Error [CUDA]: misaligned address"),
        (
            "TIMEOUT",
            "[F1130 03:04:05.000 ProcessGroupNCCL.cpp:1557] terminated, due to ProcessGroupNCCL watchdog hang.",
        ),
        (
            "PEER_LOST",
            "RuntimeError: The client socket has failed to connect to any network address of (gpu01, 29500).",
        ),
        ("RANK_KILLED", "train_blockmoving.sh：行 40:  8156 已杀死               torchrun"),
        ("RANK_KILLED", "train_blockmoving.sh: 第 40 行： 8156 已杀死          torchrun"),
    ],
)
def test_words_that_no_report_has_yet_reach_their_class(kind: str, text: str) -> None:
    """As the programs are known to say it: no report stands behind these."""
    found = failure_of(text)
    assert found is not None
    assert found.kind == kind
