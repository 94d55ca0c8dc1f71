"""Tools of work.py: programs that it calls, folders that it marks, switches and removes."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from ...core.errors import FleetError
from ...core.progress import Progress
from ...system import files, folders, programs
from .observe import RECORD, listed, unfinished_mark

BYTES = re.compile(r"Progress (\d+) of (\d+)")
DOWNLOADING = re.compile(r"\s*Downloading (\S+)")
INSTALLING = "Installing collected packages: "
# Messages of failed programs, and their remedies.
REMEDIES = (
    ("CERTIFICATE_VERIFY_FAILED", "the host does not trust this server: set fleet_ca_bundle to your proxy's CA"),
    (
        "conda.anaconda.org",
        "this host does not reach conda.anaconda.org: name a channel that it reaches (conda_env_channels) or a proxy "
        "(conda_env_environment); if it is the installer that asks there, name one that brings its packages along "
        "(conda_env_installer_url: Miniforge 26.3.2-3 or 26.1.1-3; 26.3.2-0 to 26.3.2-2 do not)",
    ),
    (
        "DO NOT MATCH THE HASHES",
        "the index has no file with the digest of the lock: it serves another file (do not use it), or "
        "the lock was made for another Python or machine",
    ),
    ("from versions: none", "the index can't be reached, or does not know the package: check conda_env_pip_index_url"),
    ("No matching distribution", "correct the pin, or name an index that has it (conda_env_pip_extra_index_urls)"),
    ("ResolutionImpossible", "two pins contradict each other: correct conda_env_pip_packages"),
    ("nvcc", "flash-attn is built with the CUDA toolkit: nvidia_toolkit: true"),
)


def environment() -> dict[str, str]:
    """Our environment variables without those that would add another Python's packages."""
    quiet = {"PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", "PIP_NO_INPUT": "1"}
    return programs.environment(drop=("PYTHON", "CONDA_PREFIX"), **quiet)


def call(
    argv: Sequence[str],
    failed: str,
    *,
    variable: str = "",
    read: Callable[[str], None] | None = None,
    more: Mapping[str, str] | None = None,
) -> list[str]:
    """Run a program, pass each line to `read`, return the last ones. Raises FleetError when it fails, OSError for a
    full disk."""
    code, tail = programs.follow(*argv, each=read, env={**environment(), **(more or {})})
    if code:
        said = [line for line in tail if line.strip()]
        programs.raise_if_full(argv[0], said)
        text = "\n".join(said)
        remedy = next((mend for sign, mend in REMEDIES if sign in text), "")
        errors = [line.strip() for line in said if line.lower().startswith("error")] or said[-3:]
        found = f"exit code {code}: " + " / ".join(errors[:3])
        raise FleetError(failed, variable=variable, found=found, remedy=remedy)
    return tail


def pip(
    python: str,
    arguments: Sequence[str],
    failed: str,
    progress: Progress,
    variable: str,
    *,
    more: Mapping[str, str] | None = None,
) -> None:
    """pip install. Progress shows bytes during a download, seconds while pip unpacks, else pip's last line."""
    current, ticker = "", ExitStack()

    def read(line: str) -> None:
        nonlocal current
        amount = BYTES.match(line)
        if amount:
            progress(int(amount[1]), int(amount[2]), "B", current)
            return
        name = DOWNLOADING.match(line)
        current = name[1].rsplit("/", 1)[-1] if name else current
        if line.startswith(INSTALLING):
            number = line.count(",") + 1
            ticker.enter_context(report_seconds(progress, f"installing {number} package{'s' if number > 1 else ''}"))
        elif line.strip() and not name:
            ticker.close()
            progress(0, 0, "", "pip: " + line.strip()[:100])

    with ticker:
        call([python, "-m", "pip", "install", *arguments], failed, variable=variable, read=read, more=more)


@contextmanager
def report_seconds(progress: Progress, what: str, every: float = 1.0) -> Iterator[None]:
    """Report the elapsed time while the program prints nothing. `every`: seconds."""
    begun, ended = time.monotonic(), threading.Event()

    def tell() -> None:
        progress(0, 0, "s", what)
        while not ended.wait(every):
            progress(int(time.monotonic() - begun), 0, "s", what)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def build_flash_attn(
    python: str, version: str, options: Sequence[str], spec: Mapping[str, Any], progress: Progress
) -> None:
    """Compile it for the installed torch, in an hour or more, with a job for each 9 GB of memory."""
    home = str(spec["nvidia_cuda_home"])
    if not os.access(os.path.join(home, "bin", "nvcc"), os.X_OK):
        raise FleetError(
            "flash-attn can't be built without the CUDA toolkit",
            variable="conda_env_flash_attn_from",
            found=f"no {home}/bin/nvcc",
            remedy="nvidia_toolkit: true, or conda_env_flash_attn_from: wheel",
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    jobs = max(1, min(os.cpu_count() or 1, memory // (9 << 30)))
    paths = [os.path.dirname(python), os.path.join(home, "bin"), os.environ.get("PATH", "")]
    more = {"CUDA_HOME": home, "MAX_JOBS": str(jobs), "PATH": ":".join(paths), "FLASH_ATTENTION_FORCE_BUILD": "TRUE"}
    words = ["--no-build-isolation", "--no-deps", "--no-binary=flash-attn", f"flash-attn=={version}"]
    failed = "flash-attn could not be built"
    pip(python, [*options, *words], failed, progress, "conda_env_flash_attn_from", more=more)


def write_lines(path: str, lines: Sequence[str]) -> None:
    files.write(path, "".join(f"{line}\n" for line in lines).encode())


def mark_unfinished(state_dir: str, path: str) -> None:
    """Mark a folder as ours and unfinished, before it exists."""
    files.save(unfinished_mark(state_dir, path), {"path": path})


def unmark(state_dir: str, path: str) -> None:
    files.remove(unfinished_mark(state_dir, path))


def remove_unfinished(state_dir: str, keep: str) -> None:
    """Remove unfinished folders of earlier calls."""
    folder = os.path.join(state_dir, "claims")
    for name in listed(folder):
        path = str(files.load(os.path.join(folder, name)).get("path", ""))
        half = path and path != keep and not os.path.exists(os.path.join(path, RECORD))
        if half and os.path.isdir(path):
            folders.remove_tree(path)
        files.remove(os.path.join(folder, name))


def switch(build: str, prefix: str) -> None:
    """Point the environment's link to this build, in one rename."""
    name = os.path.basename(build)
    if os.path.islink(prefix) and os.readlink(prefix) == name:
        return
    files.point(prefix, name)


def builds(prefix: str) -> list[str]:
    """Folders beside the link that we made and finished."""
    pattern = re.compile(re.escape(os.path.basename(prefix)) + r"\.[0-9a-f]{8}(-\d+)?")
    folder = os.path.dirname(prefix)
    paths = [os.path.join(folder, name) for name in listed(folder) if pattern.fullmatch(name)]
    return [path for path in paths if os.path.exists(os.path.join(path, RECORD))]


def in_use(path: str) -> bool:
    """True while a process runs a program of this folder: a training that was started before the switch."""
    for process in listed("/proc"):
        if process.isdigit():
            try:
                program = os.readlink(f"/proc/{process}/exe")
            except OSError:
                continue
            if program.startswith(path + "/"):
                return True
    return False


def prune(state_dir: str, prefix: str, keep: set[str]) -> None:
    """Remove older builds, except the previous one and those in use."""
    for path in builds(prefix):
        if path not in keep and not in_use(path):
            mark_unfinished(state_dir, path)
            files.remove(os.path.join(path, RECORD))
            folders.remove_tree(path)
            unmark(state_dir, path)
