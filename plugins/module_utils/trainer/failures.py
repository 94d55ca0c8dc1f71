"""Why a training died, from the last lines of its error stream. Pure.

The exit code is always 1 (contract), so the text decides. Python's tracebacks end in an error line. C++ code
(the process group's watchdog, NCCL) writes lines of its own, and NCCL names its cause one line below "Last error:".
A class is a code that a user can look up; the lines around the cause are shown beside it. Errors of ranks that died
because
another one did are the last choice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .log import plain

CONTEXT = 12  # lines of a traceback above its error that may name the place
BELOW = 6  # lines below an error that may belong to it
LONGEST = 300  # letters of a line that are kept
_RANK = re.compile(r"^\[(?:default|rank)?(\d+)\]:\s?")
_CPP = re.compile(r"^.*?\[[EF]\d*[ \d:.]* ?[\w/.]+\.(?:cpp|cc|cu|h|hpp):\d+\]\s*|^what\(\):\s+")
_ERROR = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit)(?::|$)")
_OTHER = re.compile(
    r"Received \d+ death signal|: (?:fatal )?error: |^ERROR: Unexpected bus error|^nccl\w+(?:Error|Usage|Argument):"
    r"|^Unable to determine the device handle|NVMLError_\w+: |No working C(?:\+\+)? compiler"
)
_NCCL = re.compile(
    r"^nccl\w+(?:Error|Usage|Argument):|NCCL error|ncclUnhandled|ncclSystem|ncclRemote|ncclInternal|ncclInvalid"
)
_LAST = re.compile(r"^Last error:\s*(.*)")
_CUDA_REASON = re.compile(
    r"Error \d+: [^(]+?(?= ?\(|$)|Found no NVIDIA driver[^.]*|driver on your system is too old[^.]*"
)
_ROOT = re.compile(r"^Root Cause \(first observed failure\)")
_EXIT = re.compile(r"exitcode\s*:\s*(-?\d+)")
_ROOT_RANK = re.compile(r"rank\s*:\s*(\d+)")
SIGABRT = 6  # how C++ code ends a process after it has said why


@dataclass(frozen=True)
class Failure:
    """`kind` is a class of KINDS or UNKNOWN; `line` the error itself; `lines` what surrounds it."""

    kind: str
    line: str
    lines: tuple[str, ...] = ()
    rank: int | None = None


# (class, pattern of the error line, pattern of the traceback above it or ""); the first that fits is the class.
KINDS: tuple[tuple[str, str, str], ...] = (
    ("GPU_OUT_OF_MEMORY", r"(?i)cuda\b.*out of memory|out of memory.*\bcuda\b", ""),
    ("GPU_OUT_OF_MEMORY", r"OutOfMemoryError|OUT_OF_MEMORY|CU\w+_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation", ""),
    ("GPU_OUT_OF_MEMORY", r"CUBLAS_STATUS_NOT_INITIALIZED when calling .cublasCreate|Failed to CUDA \w*alloc", ""),
    ("HOST_OUT_OF_MEMORY", r"^MemoryError|can't allocate memory|not enough memory: you tried|std::bad_alloc", ""),
    ("HOST_OUT_OF_MEMORY", r"Cannot allocate memory|Unable to allocate .* for an array|posix_memalign", ""),
    ("SHARED_MEMORY_FULL", r"\bshm\b|shared memory|/dev/shm|/torch_\d|signal: Bus error", ""),
    ("SHARED_MEMORY_FULL", r"No space left on device", r"multiprocessing/(?:synchronize|shared_memory|heap)|SemLock"),
    ("GPU_LOST", r"GPU is lost|fallen off the bus|\bXid\b.*\b79\b|device is not available", ""),
    ("GPU_LOST", r"cudaErrorDevicesUnavailable|busy or unavailable|^Unable to determine the device handle", ""),
    ("GPU_ARCHITECTURE", r"no kernel image is available|no binary for GPU|not compatible with the current PyTorch", ""),
    ("GPU_ORDINAL", r"invalid device ordinal|Duplicate GPU detected|Invalid device (?:id|index)", ""),
    ("NO_GPU", r"^AssertionError", r"cuda\.is_available"),
    ("NO_GPU", r"No CUDA GPUs are available|Found no NVIDIA driver|CUDA driver initialization failed", ""),
    ("NO_GPU", r"no CUDA-capable device|system not yet initialized|Unexpected error from cudaGetDeviceCount", ""),
    ("NO_GPU", r"driver (?:version|on your system) is (?:too old|insufficient)|not compiled with CUDA enabled", ""),
    ("GPU_FAULT", r"CUDA error: |uncorrectable ECC|CU(?:BLAS|DNN|SOLVER)_STATUS_\w+|illegal memory access", ""),
    ("GPU_FAULT", r"Cuda failure|unspecified launch failure|device-side assert|unhandled cuda error", ""),
    ("TIMEOUT", r"Watchdog caught collective operation timeout|RendezvousTimeoutError", ""),
    ("TIMEOUT", r"Timed out waiting|[Ww]ait timeout after|timed out after|Timeout waiting for", ""),
    ("TIMEOUT", r"has timed out|Some NCCL operations have failed or timed out", ""),
    ("WORKER_KILLED", r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal|exited unexpectedly)", ""),
    ("PORT_TAKEN", r"EADDRINUSE|[Aa]ddress already in use", ""),
    ("DISK_FULL", r"No space left on device|Disk quota exceeded|Errno (?:28|122)\b|StorageFull", ""),
    ("DISK_FULL", r"PytorchStreamWriter failed|unexpected pos \d+ vs \d+", ""),
    ("YAML_DIALECT", r"^AssertionError", r"dataset_names"),
    ("REGISTRATION_DIALECT", r"^KeyError: '(?:data_dir|num_files|parquet_info_path|num_total_samples)'", ""),
    ("REGISTRATION_DIALECT", r"^KeyError: ", r"DATASET_INFO\["),
    ("INFO_PATHS_FOREIGN", r"^IndexError: list index out of range", r"data_paths\[0\]|set_epoch"),
    ("IMAGES_MISSING", r"^IndexError: tensors used as indices", ""),
    ("CHECKPOINTS_FOREIGN_NAME", r"^ValueError: invalid literal for int\(\)", ""),
    ("CHECKPOINT_SHARDS_DIFFER", r"FileNotFoundError: .*optimizer\.\d+-of-\d+\.pt", ""),
    ("CHECKPOINT_INCOMPLETE", r"FileNotFoundError: .*(?:\.safetensors|scheduler\.pt|data_status\.pt)", ""),
    ("CHECKPOINT_INCOMPLETE", r"FileNotFoundError: ", r"load_file|try_load_ckpt"),
    ("CHECKPOINT_INCOMPLETE", r"SafetensorError|PytorchStreamReader failed|^EOFError", ""),
    ("WEIGHTS_NOT_LOADED", r"^RuntimeError: \S.* has no weights for \S+$", ""),  # patch_lean_text
    ("SHARDS_MISMATCH", r"Mesh should not be bigger", ""),
    ("WORKERS_GREW", r"^KeyError: \d+$", ""),
    ("WANDB_LOGIN", r"api_key not configured|API key must be|wandb.*(?:login|credential)|not logged in.*wandb", ""),
    ("WANDB_LOGIN", r"wandb\.(?:errors|sdk).*Authentication|\bCommError: .*(?:401|403|[Pp]ermission)", ""),
    ("FLAG_UNKNOWN", r"not used by the HfArgumentParser|unrecognized arguments|invalid (?:\w+ )?value", ""),
    ("IMPORT_MISSING", r"ModuleNotFoundError|^ImportError|Failed to import \S+ because of", ""),
    ("COMPILER_MISSING", r"InductorError|Failed to find C compiler|No working C|fatal error: \S+\.h:", ""),
)
# Seen on ranks, and on torchrun itself, when something else had already ended the run.
FOLLOWS = (
    ("PEER_LOST", r"Dist(?:Backend|Network|Store)Error|Connection (?:closed|reset|refused|timed out)|Broken pipe"),
    ("PEER_LOST", r"NCCL error|^nccl\w+:|[Ss]ocket\w*: |No route to host|no socket interface|Connect to \S+ failed"),
    ("TERMINATED", r"SignalException|Received \d+ death signal"),
    ("CHILD_FAILED", r"ChildFailedError"),
)


# Remedies for causes that the class alone does not show.
HINTS = (
    (
        r"\bfe80:|veth|docker0|virbr|no socket interface",
        "NCCL uses another interface than that of fleet_address: name it, run_config_env: {NCCL_SOCKET_IFNAME: eth0}",
    ),
    (
        r"GLIBC_\d",
        "the wheel was built for a newer C library: conda_env_flash_attn_from: source, or a newer distribution",
    ),
    (r"system not yet initialized", "NVSwitch needs the fabric manager of the driver's version (nvidia role)"),
)


# A start that would end in the same way again: a person has to change something first. All others are tried again.
FINAL = frozenset(
    {
        "GPU_OUT_OF_MEMORY",
        "GPU_LOST",
        "GPU_ARCHITECTURE",
        "GPU_ORDINAL",
        "SHARED_MEMORY_FULL",
        "WANDB_LOGIN",
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
    """True for a class that another start may avoid: a killed process, a lost node, a timeout, unknown."""
    return kind not in FINAL


def failure_of(text: str, result: str = "") -> Failure | None:
    """The failure in the error stream of one start; None without one.

    `result` is systemd's own word: "oom-kill" is decisive, since a killed rank leaves no line of its own.
    """
    lines = plain(text)
    if result == "oom-kill":
        return Failure("HOST_OUT_OF_MEMORY", "the kernel ended a process of the unit for lack of memory", _last(lines))
    found = [judged for number in range(len(lines)) if (judged := _judge(lines, number)) is not None]
    followed = {kind for kind, _unused in FOLLOWS}
    known = [one for one in found if one.kind not in ("UNKNOWN", *followed)]
    unknown = [one for one in found if one.kind == "UNKNOWN"]
    lost = [one for one in found if one.kind == "PEER_LOST"]
    killed = _killed(lines)
    if killed and killed[0] == SIGABRT and lost:  # the watchdog ended the rank, and has said why
        unknown, killed = [], None
    order = (*known, *unknown, *((killed[1],) if killed else ()), *lost, *found)
    return order[0] if order else None


def _judge(lines: Sequence[str], number: int) -> Failure | None:
    """The failure of one line, with the lines around it; None for a line without an error."""
    rank = _RANK.match(lines[number])
    raw = _bare(lines[number])
    line = _CPP.sub("", raw)
    if line == raw and not _ERROR.match(line) and not _OTHER.search(line):
        return None
    above = [_bare(one) for one in lines[max(0, number - CONTEXT) : number]]
    begin = max((at for at, one in enumerate(above) if one.startswith("Traceback (")), default=0)
    cause = _cause(lines, number) if _NCCL.search(line) else ""
    kind = _kind(f"{line} {cause}".strip(), above)
    if kind == "UNKNOWN" and line != raw:
        return None  # C++ code logs much that ends nothing
    if kind == "NO_GPU":
        cause = _no_gpu(lines[:number]) or cause
    found = f"{line}: {cause}" if cause else line
    hints = [hint for pattern, hint in HINTS if re.search(pattern, found)]
    around = (*above[begin:][-4:], line, *([cause] if cause else []), *hints)
    return Failure(kind, found[-LONGEST:], tuple(one[-LONGEST:] for one in around), int(rank[1]) if rank else None)


def _kind(text: str, above: Sequence[str]) -> str:
    """The class of an error. NCCL's and the store's errors are PEER_LOST unless their cause says more."""
    for kind, pattern, place in KINDS:
        if re.search(pattern, text) and (not place or any(re.search(place, one) for one in above)):
            store = kind == "TIMEOUT" and re.search(r"DistStoreError|DistNetworkError", text)
            return "PEER_LOST" if store else kind
    return next((kind for kind, pattern in FOLLOWS if re.search(pattern, text)), "UNKNOWN")


def _cause(lines: Sequence[str], number: int) -> str:
    """NCCL's own cause: its error class below the line, and the line after "Last error:"."""
    below = [_bare(one) for one in lines[number + 1 : number + 1 + BELOW]]
    for at, one in enumerate(below):
        if match := _LAST.match(one):
            return match[1] or next(iter(below[at + 1 : at + 2]), "")
    return next((one for one in below if _NCCL.match(one)), "")


def _no_gpu(above: Sequence[str]) -> str:
    """Why CUDA found no device: a warning far above the bare assertion says so."""
    reasons = [match[0].strip() for one in above if (match := _CUDA_REASON.search(one))]
    return reasons[-1] if reasons else ""


def _bare(line: str) -> str:
    return _RANK.sub("", line).strip()


def _killed(lines: Sequence[str]) -> tuple[int, Failure] | None:
    """Signal and failure of a rank that a signal ended: torchrun's block names it, and nothing else does."""
    for number, line in enumerate(lines):
        if _ROOT.search(line.strip()):
            block = lines[number : number + 10]
            code = next((match for one in block if (match := _EXIT.search(one))), None)
            rank = next((match for one in block if (match := _ROOT_RANK.search(one))), None)
            if code and int(code[1]) < 0:
                who = int(rank[1]) if rank else None
                line = f"rank {'?' if who is None else who} was ended by signal {-int(code[1])}"
                kind = "TERMINATED" if int(code[1]) == -15 else "RANK_KILLED"
                around = tuple(one.strip()[-LONGEST:] for one in block)
                return -int(code[1]), Failure(kind, line, around, who)
    return None


def _last(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line[-LONGEST:] for line in lines[-8:])
