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

from .error_lines import bare, rank_of, unwrapped
from .log import plain
from .signals import ended_by, ended_rank, named

CONTEXT = 12  # lines of a traceback above its error that may name the place
BELOW = 6  # lines below an error that may belong to it
LONGEST = 300  # letters of a line that are kept
_CPP = re.compile(r"^.*?\[[EF]\d*[ \d:.]* ?[\w/.]+\.(?:cpp|cc|cu|h|hpp):\d+\]\s*|^what\(\):\s+")
_ERROR = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*(?:[A-Za-z_]\w*(?:Error|Interrupt|Exit)|[A-Za-z_]?\w*Exception"
    r"|OutOfResources|GPUTooOldForTriton|TritonMissing|BadZipFile)(?::|$)"
)
_OTHER = re.compile(
    r"Received \S+ death signal|(?<!srun|tepd): (?:fatal )?error: |ERROR: Unexpected bus error"
    r"|^nccl\w+(?:Error|Usage|Argument):|^Unable to determine the device handle|NVMLError_\w+: "
    r"|No working C(?:\+\+)? compiler"
)
# Lines that count when a class knows their words, and are no error otherwise.
_NOTE = re.compile(
    r"(?i)^cuda (?:runtime |driver |kernel )?(?:error|failure)\b ?[:(]|\bcuda failure [\w.:/ ]*'|^cudaCheckError\(\) "
    r"|^error .+ at line \d+ in file |^(?:ptxas|nvcc) fatal|^(?:slurmstepd|srun): error: |error while loading shared"
    r"|: version .GLIBC(?:XX)?_[\w.]+. not found|\bOut of memory: Kill|\boom-kill:constraint|killed by the OOM killer"
    r"|Failed with result 'oom-kill'"
)
_NCCL = re.compile(
    r"^nccl\w+(?:Error|Usage|Argument):|NCCL error|ncclUnhandled|ncclSystem|ncclRemote|ncclInternal|ncclInvalid"
)
_LAST = re.compile(r"^Last error:\s*(.*)")
_CUDA_REASON = re.compile(
    r"Error \d+: [^(]+?(?= ?\(|$)|Found no NVIDIA driver[^.]*|driver on your system is too old[^.]*"
)
_DISTRIBUTED = re.compile(r"DistStoreError|DistNetworkError|client socket has timed out")
SIGABRT = 6  # how C++ code ends a process after it has said why
STOPS = (1, 2, 15)  # signals by which a person or a system stops a program
VAGUE = ("UNKNOWN", "GPU_FAULT", "PEER_LOST")  # classes that the rest of a broken line may make more precise


@dataclass(frozen=True)
class Failure:
    """`kind` is a class of KINDS or UNKNOWN; `line` the error itself; `lines` what surrounds it."""

    kind: str
    line: str
    lines: tuple[str, ...] = ()
    rank: int | None = None


# (class, pattern of the error line, pattern of the traceback above it or ""); the first that fits is the class. Capital
# letters count as small ones: programs write CUDA's words in several ways.
KINDS: tuple[tuple[str, str, str], ...] = (
    ("GPU_ARCHITECTURE", r"out of resource: .*(?:shared memory|triton|hardware limit)", ""),  # on the GPU's chip
    ("GPU_OUT_OF_MEMORY", r"cuda\b.*out of memory|out of memory.*\bcuda\b", ""),
    ("GPU_OUT_OF_MEMORY", r"OutOfMemoryError|OUT_OF_MEMORY|CU\w+_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation", ""),
    ("GPU_OUT_OF_MEMORY", r"CUBLAS_STATUS_NOT_INITIALIZED when calling .cublasCreate|Failed to CUDA \w*alloc", ""),
    ("HOST_OUT_OF_MEMORY", r"MemoryError\b|can't allocate memory|not enough memory: you tried|std::bad_alloc", ""),
    ("HOST_OUT_OF_MEMORY", r"Cannot allocate memory|Unable to allocate .* for an array|posix_memalign", ""),
    ("HOST_OUT_OF_MEMORY", r"oom[-_]kill|\bOut of memory: Kill|task \d+: Out Of Memory|the OOM killer", ""),
    ("SHARED_MEMORY_FULL", r"^(?!.*(?:too many open|FileNotFound)).*(?:\bshm\b|shared memory|</torch_\d)", ""),
    ("SHARED_MEMORY_FULL", r"signal: Bus error", ""),
    ("SHARED_MEMORY_FULL", r"No space left on device", r"multiprocessing/(?:synchronize|shared_memory|heap)|SemLock"),
    ("GPU_LOST", r"GPU is lost|fallen off the bus|\bXid\b.*\b79\b|device is not available", ""),
    ("GPU_LOST", r"cudaErrorDevicesUnavailable|busy or unavailable|^Unable to determine the device handle", ""),
    ("GPU_ARCHITECTURE", r"no kernel image is available|no binary for GPU|not compatible with the current PyTorch", ""),
    ("GPU_ARCHITECTURE", r"cudaErrorNoKernelImage|kernel image is invalid|invalid device function|_ARCH_MISMATCH", ""),
    ("GPU_ARCHITECTURE", r"PTX was compiled with an unsupported toolchain|unsupported gpu architecture", ""),
    ("GPU_ARCHITECTURE", r"is not defined for option .gpu-name|only supports? \w+ GPUs or newer", ""),
    ("GPU_ARCHITECTURE", r"too old to be supported by the triton|GPUTooOldForTriton", ""),
    ("GPU_ORDINAL", r"invalid device ordinal|Duplicate GPU detected|Invalid device (?:id|index)", ""),
    ("NO_GPU", r"^AssertionError", r"cuda\.is_available"),
    ("NO_GPU", r"No CUDA GPUs are available|Found no NVIDIA driver|CUDA driver initialization failed", ""),
    ("NO_GPU", r"no CUDA-capable device|system not yet initialized|Unexpected error from cudaGetDeviceCount", ""),
    ("NO_GPU", r"driver (?:version|on your system) is (?:too old|insufficient)|not compiled with CUDA enabled", ""),
    ("NO_GPU", r"no GPUs found|cuda\.is_available\(\) is False|CUDA unknown error|libcuda\.so[.\d]*: cannot open", ""),
    ("GPU_FAULT", r"CUDA (?:runtime |driver )?error\b ?[:(]|uncorrectable ECC|CU(?:BLAS|DNN|SOLVER)_STATUS_\w+", ""),
    ("GPU_FAULT", r"Cuda failure|unspecified launch failure|device-side assert|unhandled cuda error", ""),
    ("GPU_FAULT", r"illegal memory access|Triton Error \[CUDA\]", ""),
    ("TIMEOUT", r"Watchdog caught collective operation timeout|RendezvousTimeoutError", ""),
    ("TIMEOUT", r"Timed out waiting|Wait timeout after|timed out after|Timeout waiting for", ""),
    ("TIMEOUT", r"has timed out|Some NCCL operations have failed or timed out|Heartbeat monitor timed out", ""),
    ("TIMEOUT", r"watchdog got stuck|due to ProcessGroupNCCL watchdog hang", ""),
    ("WORKER_KILLED", r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal|exited unexpectedly)", ""),
    ("WORKER_KILLED", r"Pin memory thread exited unexpectedly", ""),
    ("PORT_TAKEN", r"EADDRINUSE|address already in use", ""),
    ("DISK_FULL", r"No space left on device|Disk quota exceeded|Errno (?:28|122)\b|StorageFull", ""),
    ("DISK_FULL", r"PytorchStreamWriter failed|unexpected pos \d+ vs \d+|\d+ requested and \d+ written", ""),
    ("YAML_DIALECT", r"^AssertionError", r"dataset_names"),
    ("REGISTRATION_DIALECT", r"^KeyError: '(?:data_dir|num_files|parquet_info_path|num_total_samples)'", ""),
    ("REGISTRATION_DIALECT", r"^KeyError: ", r"DATASET_INFO\["),
    ("INFO_PATHS_FOREIGN", r"^IndexError: list index out of range", r"data_paths\[0\]|set_epoch"),
    ("IMAGES_MISSING", r"^IndexError: tensors used as indices", ""),
    ("CHECKPOINTS_FOREIGN_NAME", r"^ValueError: invalid literal for int\(\)", ""),
    ("CHECKPOINT_SHARDS_DIFFER", r"FileNotFoundError: .*optimizer\.\d+-of-\d+\.pt", ""),
    ("CHECKPOINT_INCOMPLETE", r"FileNotFoundError: .*(?:\.safetensors|scheduler\.pt|data_status\.pt)", ""),
    ("CHECKPOINT_INCOMPLETE", r"FileNotFoundError: ", r"load_file|try_load_ckpt"),
    # The other end of a pipe between processes is gone: no file was read.
    ("PEER_LOST", r"^EOFError|pickle data was truncated", r"multiprocessing/(?:connection|reduction|spawn|managers)"),
    ("CHECKPOINT_INCOMPLETE", r"SafetensorError: (?!Error while serializing)|PytorchStreamReader failed|^EOFError", ""),
    ("CHECKPOINT_INCOMPLETE", r"UnpicklingError: .*(?:pickle data was truncated|invalid load key)", ""),
    ("CHECKPOINT_INCOMPLETE", r"unexpected EOF(?:, expected|\. The file)|storage has wrong (?:byte )?size: ", ""),
    ("CHECKPOINT_INCOMPLETE", r"Invalid magic number; corrupt file|BadZipFile|cannot mmap an empty file", ""),
    ("WEIGHTS_NOT_LOADED", r"^RuntimeError: \S.* has no weights for \S+$", ""),  # patch_lean_text
    ("SHARDS_MISMATCH", r"Mesh should not be bigger", ""),
    ("WORKERS_GREW", r"^KeyError: \d+$", ""),
    ("WANDB_LOGIN", r"api_key not configured|API key must be|wandb.*(?:login|credential)|not logged in.*wandb", ""),
    ("WANDB_LOGIN", r"wandb\.(?:errors|sdk).*Authentication|\bCommError: .*(?:401|403|permission|not logged in)", ""),
    ("FLAG_UNKNOWN", r"not used by the HfArgumentParser|unrecognized arguments|error: argument \S+: ", ""),
    ("FLAG_UNKNOWN", r"error: the following arguments are required|error: ambiguous option", ""),
    ("IMPORT_MISSING", r"ModuleNotFoundError|^ImportError|Failed to import \S+ because of|undefined symbol: ", ""),
    ("IMPORT_MISSING", r"cannot open shared object|loading shared libraries|version .GLIBC\w*_[\w.]+. not found", ""),
    ("COMPILER_MISSING", r"InductorError: (?:FileNotFound|CalledProcess)Error|CppCompileError|TritonMissing", ""),
    ("COMPILER_MISSING", r"Failed to find C compiler|No working C|fatal error: \S+\.h:", ""),
)
# Seen on ranks, and on torchrun itself, when something else had already ended the run.
FOLLOWS = (
    ("PEER_LOST", r"Dist(?:Backend|Network|Store)Error|Connection (?:closed|reset|refused|timed out)|Broken pipe"),
    ("PEER_LOST", r"NCCL error|^nccl\w+:|[Ss]ocket\w*: |No route to host|no socket interface|Connect to \S+ failed"),
    ("PEER_LOST", r"Rendezvous(?:Connection|Closed)Error|client socket has failed to connect|connect\(\) timed out"),
    ("TERMINATED", r"SignalException|Received \S+ death signal|^KeyboardInterrupt|^slurmstepd: .* CANCELLED AT "),
    ("CHILD_FAILED", r"ChildFailedError"),
)


FOLLOWING = {kind for kind, _unused in FOLLOWS} | {"RANK_KILLED"}
_KINDS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE), re.compile(place) if place else None)
    for kind, pattern, place in (*KINDS, *((kind, pattern, "") for kind, pattern in FOLLOWS))
)


# Remedies for causes that the class alone does not show.
HINTS = (
    (
        r"\bfe80:|veth|docker0|virbr|no socket interface",
        "NCCL uses another interface than that of fleet_address: name it, run_config_env: {NCCL_SOCKET_IFNAME: eth0}",
    ),
    (
        r"GLIBC(?:XX)?_\d",
        "the wheel was built for a newer C library: conda_env_flash_attn_from: source, or a newer distribution",
    ),
    (
        r"PTX was compiled with an unsupported toolchain",
        "the driver is older than the CUDA that built this code: a newer driver (nvidia role)",
    ),
    (r"out of resource: ", "the compiled kernel needs more memory on the GPU's chip than this card has"),
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
    known = [one for one in found if one.kind not in ("UNKNOWN", *FOLLOWING)]
    unknown = [one for one in found if one.kind == "UNKNOWN"]
    lost = [one for one in found if one.kind == "PEER_LOST"]
    # A program that was stopped, or killed where torchrun did not see it: the first of them.
    ended = [one for one in found if one.kind in ("RANK_KILLED", "TERMINATED")][:1]
    rank = ended_rank(lines)
    killed = [_by_signal(rank.signal, rank.rank, rank.lines)] if rank else []
    if lost and (rank.signal if rank else next(filter(None, map(ended_by, lines)), 0)) == SIGABRT:
        unknown, killed, ended = [], [], []  # the watchdog ended the rank, and has said why
    if lost and ended and ended[0].kind == "TERMINATED" and found.index(lost[0]) < found.index(ended[0]):
        ended = []  # it was stopped because a peer was lost
    return next(iter((*known, *unknown, *killed, *ended, *lost, *found)), None)


def _judge(lines: Sequence[str], number: int) -> Failure | None:
    """The failure of one line, with the lines around it; None for a line without an error."""
    raw, rank = bare(lines[number]), rank_of(lines[number])
    line = _CPP.sub("", raw)
    error = bool(_ERROR.match(line) or _OTHER.search(line))
    wider = list(unwrapped(lines, number)) if error or line != raw else []
    if by := ended_by(line) or next(filter(None, map(named, wider)), 0):
        return _by_signal(by, rank, tuple(bare(one) for one in lines[max(0, number - 3) : number + 1]), line)
    if line == raw and not error and not _NOTE.search(line):
        return None
    above = [bare(one) for one in lines[max(0, number - CONTEXT) : number]]
    begin = max((at for at, one in enumerate(above) if one.startswith("Traceback (")), default=0)
    cause = _cause(lines, number) if _NCCL.search(line) else ""
    kind = _kind(f"{line} {cause}".strip(), above)
    if kind in VAGUE:
        kinds = [one for text in wider if (one := _kind(_CPP.sub("", text), above)) != "UNKNOWN"]
        kind = next((one for one in kinds if one not in VAGUE), kind if kind != "UNKNOWN" else next(iter(kinds), kind))
    if kind == "UNKNOWN" and not (error and line == raw):
        return None  # C++ code and launchers log much that ends nothing
    if kind == "NO_GPU":
        cause = _no_gpu(lines[:number]) or cause
    found = f"{line}: {cause}" if cause else line
    hints = [hint for pattern, hint in HINTS if re.search(pattern, found)]
    around = (*above[begin:][-4:], line, *([cause] if cause else []), *hints)
    return Failure(kind, found[-LONGEST:], tuple(one[-LONGEST:] for one in around), rank)


def _kind(text: str, above: Sequence[str]) -> str:
    """The class of an error. NCCL's and the store's errors are PEER_LOST unless their cause says more."""
    for kind, pattern, place in _KINDS:
        if pattern.search(text) and (place is None or any(place.search(one) for one in above)):
            return "PEER_LOST" if kind == "TIMEOUT" and _DISTRIBUTED.search(text) else kind
    return "UNKNOWN"


def _cause(lines: Sequence[str], number: int) -> str:
    """NCCL's own cause: its error class below the line, and the line after "Last error:"."""
    below = [bare(one) for one in lines[number + 1 : number + 1 + BELOW]]
    for at, one in enumerate(below):
        if match := _LAST.match(one):
            return match[1] or next(iter(below[at + 1 : at + 2]), "")
    return next((one for one in below if _NCCL.match(one)), "")


def _no_gpu(above: Sequence[str]) -> str:
    """Why CUDA found no device: a warning far above the bare assertion says so."""
    reasons = [match[0].strip() for one in above if (match := _CUDA_REASON.search(one))]
    return reasons[-1] if reasons else ""


def _by_signal(number: int, rank: int | None, lines: Sequence[str], said: str = "") -> Failure:
    """`said`: the line that names the signal, where it is not torchrun's block."""
    kind = "TERMINATED" if number in STOPS else "RANK_KILLED"
    line = said or f"rank {'?' if rank is None else rank} was ended by signal {number}"
    return Failure(kind, line[-LONGEST:], tuple(one[-LONGEST:] for one in lines), rank)


def _last(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line[-LONGEST:] for line in lines[-8:])
