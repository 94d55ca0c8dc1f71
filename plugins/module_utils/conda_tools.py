"""The hands of conda_env_work: programs that are called, folders that are claimed, switched and removed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.canvas.fleet.plugins.module_utils.conda_env import RECORD, claim_of, listed, read_json
from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.progress import Progress

RAW_PROGRESS = (24, 1)  # the first pip that tells its bytes to a program
BYTES = re.compile(r"Progress (\d+) of (\d+)")
DOWNLOADING = re.compile(r"\s*Downloading (\S+)")
INSTALLING = "Installing collected packages: "
# What a failed program says, and what mends it.
REMEDIES = (
    ("CERTIFICATE_VERIFY_FAILED", "the host does not trust this server: set fleet_ca_bundle to your proxy's CA"),
    ("No space left on device", "free space below conda_env_root and conda_env_state_dir"),
    ("DO NOT MATCH THE HASHES", "the index serves another file than the one that was pinned: do not use it"),
    ("from versions: none", "the index can't be reached, or does not know the package: check conda_env_pip_index_url"),
    ("No matching distribution", "correct the pin, or name an index that has it (conda_env_pip_extra_index_urls)"),
    ("ResolutionImpossible", "two pins contradict each other: correct conda_env_pip_packages"),
)
IMPORTER = """
import importlib, json, platform, sys
out = {"imports": {}, "failed": {}, "torch": {}, "python": platform.python_version()}
for name in json.loads(sys.argv[1]):
    try:
        module = importlib.import_module(name)
        out["imports"][name] = str(getattr(module, "__version__", ""))
    except BaseException as error:
        out["failed"][name] = f"{type(error).__name__}: {error}"[:300]
torch = sys.modules.get("torch")
if torch is not None and "torch" in out["imports"]:
    out["torch"] = {"version": str(torch.__version__), "cuda": torch.version.cuda or "",
                    "cuda_available": bool(torch.cuda.is_available()),
                    "cxx11_abi": bool(torch.compiled_with_cxx11_abi())}
sys.stdout.write("\\n" + json.dumps(out) + "\\n")
"""


def environment() -> dict[str, str]:
    """Our own, without what would let another Python's packages in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CONDA_PREFIX"))}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", "PIP_NO_INPUT": "1"}


def call(
    argv: Sequence[str],
    failed: str,
    progress: Progress,
    *,
    variable: str = "",
    read: Callable[[str], None] | None = None,
) -> list[str]:
    """Run a program, hand each of its lines to `read`, return the last ones. Raises FleetError when it fails."""
    tail: deque[str] = deque(maxlen=40)
    with subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in process.stdout:
            print(line, end="", flush=True)  # noqa: T201 - into the work's own log
            tail.append(line.rstrip())
            if read:
                read(line)
    if process.returncode:
        said = [line for line in tail if line.strip()]
        text = "\n".join(said)
        remedy = next((mend for sign, mend in REMEDIES if sign in text), "")
        errors = [line.strip() for line in said if line.lower().startswith("error")] or said[-3:]
        found = f"exit code {process.returncode}: " + " / ".join(errors[:3])
        raise FleetError(failed, variable=variable, found=found, remedy=remedy)
    return list(tail)


def pip(python: str, arguments: Sequence[str], failed: str, progress: Progress, variable: str) -> None:
    """pip install, told by bytes while a file comes, by seconds while pip unpacks, else by the line that pip is at."""
    current, told = "", ExitStack()

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
            told.enter_context(seconds_told(progress, f"installing {number} package{'s' if number > 1 else ''}"))
        elif line.strip() and not name:
            told.close()
            progress(0, 0, "", "pip: " + line.strip()[:100])

    with told:
        call([python, "-m", "pip", "install", *arguments], failed, progress, variable=variable, read=read)


@contextmanager
def seconds_told(progress: Progress, what: str, every: float = 1.0) -> Iterator[None]:
    """Tell how long this takes, where the program itself says nothing for minutes. `every`: seconds."""
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


def pip_options(spec: Mapping[str, Any], state_dir: str, version: str) -> list[str]:
    """Where pip looks, and how it talks; an index without TLS was chosen by the user, so its host is trusted."""
    index, more = str(spec["pip_index_url"] or ""), [str(url) for url in spec["pip_extra_index_urls"]]
    links = str(spec["pip_find_links"] or "")
    hosts = {urlsplit(url).hostname or "" for url in (index, links, *more) if url.startswith("http://")}
    # pip would compile every file of every package, one after the other: 40 % of its processor time. The proof that
    # follows imports what the trainer imports, and Python keeps what it compiled for that.
    options = ["--disable-pip-version-check", "--no-compile", "--cache-dir", os.path.join(state_dir, "pip-cache")]
    options += ["--index-url", index] if index else []
    options += [word for url in more for word in ("--extra-index-url", url)]
    options += ["--find-links", links] if links else []
    options += [word for host in sorted(hosts) for word in ("--trusted-host", host)]
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    return options + (["--progress-bar", "raw"] if numbers >= RAW_PROGRESS else [])


def import_all(python: str, modules: list[str], *, ours: bool = True) -> dict[str, Any]:
    """{"imports": {module: version}, "failed": {module: error}, "torch": {...}, "python"} from one new process.

    In an environment of the user's (not `ours`) not even bytecode is written.
    """
    argv = [python, "-I" if ours else "-IB", "-c", IMPORTER, json.dumps(modules)]
    done = subprocess.run(
        argv, capture_output=True, text=True, env=environment(), check=False, stdin=subprocess.DEVNULL
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise FleetError(
            "the imports of the trainer ended the process",
            variable="conda_env_imports",
            found=f"exit code {done.returncode}: {said}",
        )
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def torch_of(python: str) -> dict[str, Any]:
    """What torch says of itself: version, cuda, cxx11_abi."""
    proof = import_all(python, ["torch"])
    if proof["failed"]:
        raise FleetError("torch can't be imported", variable="conda_env_pip_packages", found=proof["failed"]["torch"])
    torch: dict[str, Any] = proof["torch"]
    return torch


def write_json(path: str, value: Mapping[str, Any]) -> None:
    aside = path + ".new"
    with open(aside, "w", encoding="utf-8") as out:
        json.dump(value, out, indent=1, sort_keys=True)
        out.flush()
        os.fsync(out.fileno())
    os.replace(aside, path)


def claim(state_dir: str, path: str) -> None:
    """Say, before it exists, that this folder is ours and not yet whole."""
    write_json(claim_of(state_dir, path), {"path": path})


def release(state_dir: str, path: str) -> None:
    name = claim_of(state_dir, path)
    if os.path.exists(name):
        os.unlink(name)


def sweep(state_dir: str, keep: str) -> None:
    """Remove what an earlier call began and did not finish."""
    folder = os.path.join(state_dir, "claims")
    for name in listed(folder):
        path = str(read_json(os.path.join(folder, name)).get("path", ""))
        half = path and path != keep and not os.path.exists(os.path.join(path, RECORD))
        if half and os.path.isdir(path):
            shutil.rmtree(path)
        os.unlink(os.path.join(folder, name))


def switch(build: str, prefix: str) -> None:
    """Let the environment's name mean this build, in one rename."""
    name = os.path.basename(build)
    if os.path.islink(prefix) and os.readlink(prefix) == name:
        return
    aside = f"{prefix}.{hashlib.sha256(name.encode()).hexdigest()[:8]}.link"
    if os.path.lexists(aside):
        os.unlink(aside)
    os.symlink(name, aside)
    os.replace(aside, prefix)


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
    """Remove older builds; the one before stays (a step back costs nothing), and so does what still runs."""
    for path in builds(prefix):
        if path not in keep and not in_use(path):
            claim(state_dir, path)
            os.unlink(os.path.join(path, RECORD))
            shutil.rmtree(path)
            release(state_dir, path)
