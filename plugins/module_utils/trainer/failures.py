"""Why a training died, from the last lines of its error stream. Pure.

The exit code is 1 for everything (contract), so only the text tells. A class is a code that a user can look up; the
telling lines are shown beside it. The errors of ranks that died because another one did are the last choice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .log import plain

CONTEXT = 12  # lines of a traceback above its error that may name the place
_RANK = re.compile(r"^\[rank(\d+)\]:\s?")
_ERROR = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit)(?::|$)")
_ROOT = re.compile(r"^Root Cause \(first observed failure\)")
_EXIT = re.compile(r"exitcode\s*:\s*(-?\d+)")
_ROOT_RANK = re.compile(r"rank\s*:\s*(\d+)")


@dataclass(frozen=True)
class Failure:
    """`kind` is a class of KINDS or UNKNOWN; `line` the error itself; `lines` what surrounds it."""

    kind: str
    line: str
    lines: tuple[str, ...] = ()
    rank: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "line": self.line, "lines": list(self.lines), "rank": self.rank}


# (class, pattern of the error line, pattern of the traceback above it or ""); the first that fits is the class.
KINDS: tuple[tuple[str, str, str], ...] = (
    ("GPU_OUT_OF_MEMORY", r"CUDA out of memory|OutOfMemoryError", ""),
    ("GPU_LOST", r"GPU is lost|GPU has fallen off the bus|\bXid\b.*\b79\b", ""),
    ("GPU_FAULT", r"CUDA error: |uncorrectable ECC|CUBLAS_STATUS_(?:EXECUTION_FAILED|INTERNAL_ERROR)", ""),
    ("TIMEOUT", r"Watchdog caught collective operation timeout|RendezvousTimeoutError", ""),
    ("TIMEOUT", r"Timed out waiting|[Ww]ait timeout after|timed out after", ""),
    ("WORKER_KILLED", r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal|exited unexpectedly)", ""),
    ("PORT_TAKEN", r"EADDRINUSE|[Aa]ddress already in use", ""),
    ("DISK_FULL", r"No space left on device|Disk quota exceeded|Errno 28\b", ""),
    ("YAML_DIALECT", r"^AssertionError", r"dataset_names"),
    ("NO_GPU", r"^AssertionError", r"cuda\.is_available"),
    ("NO_GPU", r"No CUDA GPUs are available|Found no NVIDIA driver|CUDA driver initialization failed", ""),
    ("REGISTRATION_DIALECT", r"^KeyError: '(?:data_dir|num_files|parquet_info_path|num_total_samples)'", ""),
    ("REGISTRATION_DIALECT", r"^KeyError: ", r"DATASET_INFO\["),
    ("INFO_PATHS_FOREIGN", r"^IndexError: list index out of range", r"data_paths\[0\]|set_epoch"),
    ("IMAGES_MISSING", r"^IndexError: tensors used as indices", ""),
    ("CHECKPOINTS_FOREIGN_NAME", r"^ValueError: invalid literal for int\(\)", ""),
    ("CHECKPOINT_SHARDS_DIFFER", r"FileNotFoundError: .*optimizer\.\d+-of-\d+\.pt", ""),
    ("CHECKPOINT_INCOMPLETE", r"FileNotFoundError: .*(?:\.safetensors|scheduler\.pt|data_status\.pt)", ""),
    ("CHECKPOINT_INCOMPLETE", r"FileNotFoundError: ", r"load_file|try_load_ckpt"),
    ("CHECKPOINT_INCOMPLETE", r"SafetensorError|PytorchStreamReader failed|^EOFError", ""),
    ("SHARDS_MISMATCH", r"Mesh should not be bigger", ""),
    ("WORKERS_GREW", r"^KeyError: \d+$", ""),
    ("FLAG_UNKNOWN", r"not used by the HfArgumentParser|unrecognized arguments|invalid (?:\w+ )?value", ""),
    ("IMPORT_MISSING", r"ModuleNotFoundError|^ImportError", ""),
    ("COMPILER_MISSING", r"InductorError", ""),
)
# Seen on ranks, and on torchrun itself, when something else had already ended the run.
FOLLOWS = (
    ("PEER_LOST", r"Dist(?:Backend|Network|Store)Error|Connection (?:closed|reset)|Broken pipe|NCCL error"),
    ("TERMINATED", r"SignalException|Received \d+ death signal"),
    ("CHILD_FAILED", r"ChildFailedError"),
)


# A start that would end in the same way again: a person has to change something first. All others are tried again.
FINAL = frozenset(
    {
        "GPU_OUT_OF_MEMORY",
        "GPU_LOST",
        "DISK_FULL",
        "WEIGHTS_NOT_LOADED",
        "FIRST_LOSS_HIGH",
        "YAML_DIALECT",
        "NO_GPU",
        "REGISTRATION_DIALECT",
        "INFO_PATHS_FOREIGN",
        "IMAGES_MISSING",
        "CHECKPOINTS_FOREIGN_NAME",
        "CHECKPOINT_SHARDS_DIFFER",
        "CHECKPOINT_INCOMPLETE",
        "CHECKPOINT_GUARD",
        "SHARDS_MISMATCH",
        "WORKERS_GREW",
        "FLAG_UNKNOWN",
        "IMPORT_MISSING",
        "COMPILER_MISSING",
        "SCRIPT_MISSING",
        "ENDED_EARLY",
        "UNIT_SETUP",
    }
)


def retried(kind: str) -> bool:
    """True for a class that another start may get past: a killed process, a lost node, a timeout, an unknown one."""
    return kind not in FINAL


def failure_of(text: str, result: str = "") -> Failure | None:
    """The failure that the error stream of one start tells of; None when it tells of none.

    `result` is systemd's own word: "oom-kill" is decisive, since a killed rank leaves no line of its own.
    """
    lines = plain(text)
    found = [judged for number in range(len(lines)) if (judged := _judge(lines, number)) is not None]
    known = [one for one in found if one.kind not in ("UNKNOWN", *(kind for kind, _ in FOLLOWS))]
    if result == "oom-kill":
        return Failure("HOST_OUT_OF_MEMORY", "the kernel ended a process of the unit for lack of memory", _last(lines))
    if known:
        return known[0]
    unknown = [one for one in found if one.kind == "UNKNOWN"]
    return (unknown[0] if unknown else None) or _killed(lines) or (found[0] if found else None)


def _judge(lines: Sequence[str], number: int) -> Failure | None:
    rank = _RANK.match(lines[number])
    line = _bare(lines[number])
    if not _ERROR.match(line) and not re.search(r"Received \d+ death signal|: error: ", line):
        return None
    above = [_bare(one) for one in lines[max(0, number - CONTEXT) : number]]
    begin = max((at for at, one in enumerate(above) if one.startswith("Traceback (")), default=0)
    around = tuple(one[-300:] for one in (*above[begin:][-4:], line))
    for kind, pattern in FOLLOWS:
        if re.search(pattern, line) and not re.search(r"EADDRINUSE|already in use", line):
            return Failure(kind, line[-300:], around, int(rank[1]) if rank else None)
    for kind, pattern, place in KINDS:
        if re.search(pattern, line) and (not place or any(re.search(place, one) for one in above)):
            return Failure(kind, line[-300:], around, int(rank[1]) if rank else None)
    return Failure("UNKNOWN", line[-300:], around, int(rank[1]) if rank else None)


def _bare(line: str) -> str:
    return _RANK.sub("", line).strip()


def _killed(lines: Sequence[str]) -> Failure | None:
    """A rank that was killed from outside: torchrun's block names its signal, and nothing else does."""
    for number, line in enumerate(lines):
        if _ROOT.search(line.strip()):
            block = lines[number : number + 10]
            code = next((match for one in block if (match := _EXIT.search(one))), None)
            rank = next((match for one in block if (match := _ROOT_RANK.search(one))), None)
            if code and int(code[1]) < 0:
                who = int(rank[1]) if rank else None
                told = f"rank {'?' if who is None else who} was ended by signal {-int(code[1])}"
                kind = "TERMINATED" if int(code[1]) == -15 else "RANK_KILLED"
                return Failure(kind, told, tuple(one.strip()[-300:] for one in block), who)
    return None


def _last(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line[-300:] for line in lines[-8:])
