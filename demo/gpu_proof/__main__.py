"""`make gpu-proof`: the whole way on a machine with an NVIDIA GPU: the real trainer and a small random model.

It runs site.yml for this very machine (local connection), with as many ranks and shards as the plan makes of its GPUs.
One rank is killed in the middle, and one is stopped later on; each has to be named and got past, and the run to end.
What it showed on H100s, and what it could not show there: docs/gpu-proof.md.

    CANVAS_UPSTREAM   a checkout of MathCanvas, or its BAGEL-Canvas folder; needed
    CANVAS_ENV        prefix of an environment with torch and what the trainer imports; needed, adopted as it is
    CANVAS_VARIABLES  a YAML file with variables of your own: mirrors, nvidia_cuda_version, training_profile, …
    CANVAS_MODEL      hidden size and layers of the model, "256 4" when unset

Root, systemd and a driver are needed. Everything lies below /srv/canvas-gpu-proof and in reports/gpu-proof/.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from demo.depot.hub import REPO, make_hub
from demo.depot.server import make_server
from demo.minicanvas.tiny_model import write_model
from demo.puzzles.generate import write_dataset
from demo.steps import CHECKOUT, REPORTS, duration

ROOT, STATE = Path("/srv/canvas-gpu-proof"), Path("/var/lib/canvas-gpu-proof")
OUT = REPORTS / "gpu-proof"
PORT = 18480
STEPS, SAVE_EVERY = 80, 20
HANG_SECONDS = 15  # a step of this model takes a third of a second
UNIT = "canvas-training-gpu"
LOG, CHECKPOINTS = ROOT / "root/outputs/gpu/log.txt", ROOT / "root/outputs/gpu/checkpoints"
FAILURE = STATE / "training" / UNIT / "own/failure.json"


@dataclass(frozen=True)
class Fault:
    """A signal to one rank at a step that is not one of a save, and the class that has to come of it."""

    signal: signal.Signals
    step: int
    kind: str


FAULTS = (Fault(signal.SIGKILL, 30, "RANK_KILLED"), Fault(signal.SIGSTOP, 50, "HANG_WORKER_STOPPED"))


class ProofError(Exception):
    """A claim that could not be shown."""


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def check() -> None:
    if os.getuid() != 0:
        raise ProofError("root is needed: run 'sudo -E make gpu-proof'")
    if not Path("/run/systemd/system").is_dir():
        raise ProofError("PID 1 is not systemd here, so there is nothing that could run the unit")
    if shutil.which("nvidia-smi") is None:
        raise ProofError("no nvidia-smi: this proof is for a machine with an NVIDIA GPU and its driver")


def small_model(python: str, canvas: Path) -> dict[str, Any]:
    """Makes the model, once for each size, and returns what it counts."""
    tokens, model = ROOT / "made/tokenizer", ROOT / "made/model"
    size = os.environ.get("CANVAS_MODEL", "256 4").split()
    counted = ROOT / "made/counts.json"
    if counted.exists() and (counts := json.loads(counted.read_text()))["size"] == size:
        return dict(counts)
    write_model(tokens)
    script = str(CHECKOUT / "demo/gpu_proof/small_model.py")
    done = subprocess.run(
        [python, script, str(canvas), str(tokens), str(model), *size], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ProofError(f"the model could not be made:\n{done.stderr[-3000:]}")
    counts = {**json.loads(done.stdout.strip().splitlines()[-1]), "size": size}
    counted.write_text(json.dumps(counts))
    return counts


@contextmanager
def hub(model: Path) -> Iterator[dict[str, Any]]:
    """A hub on the loopback that serves the model while the proof runs."""
    folder = ROOT / "made/hub"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    facts = make_hub(folder / "hf", model, b"{}\n")
    server = make_server(folder, PORT, "127.0.0.1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield facts
    finally:
        server.shutdown()


def variables(facts: dict[str, Any], counts: dict[str, Any]) -> dict[str, Any]:
    made = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": "/usr/bin/python3",
        "fleet_root": str(ROOT / "root"),
        "fleet_state_dir": str(STATE),
        "training_run": "gpu",
        "canvas_code_source": "controller",
        "canvas_code_controller_path": os.environ["CANVAS_UPSTREAM"],
        "conda_env_prefix": os.environ["CANVAS_ENV"],
        "conda_env_use_existing": True,
        "dataset_source": "controller",
        "dataset_train": str(ROOT / "made/data/train_split.parquet"),
        "dataset_test": str(ROOT / "made/data/test_split.parquet"),
        "weights_endpoint": f"http://127.0.0.1:{PORT}/hf",
        "weights_repo": REPO,
        "weights_revision": facts["weights_revision"],
        "weights_sha256": facts["weights_sha256"],
        "weights_parameters": counts["parameters"],
        "weights_bytes": facts["weights_bytes"],
        "run_config_num_workers": 2,
        "run_config_total_steps": STEPS,
        "run_config_save_every": SAVE_EVERY,
        "run_config_log_every": 1,
        "run_config_warmup_steps": 5,
        "run_config_lr": 0.0003,
        "run_config_ema": 0.95,
        "training_step_seconds": HANG_SECONDS,
    }
    if own := os.environ.get("CANVAS_VARIABLES"):
        made |= yaml.safe_load(Path(own).read_text())
    return made


def inventory(values: dict[str, Any]) -> Path:
    path = OUT / "inventory" / "hosts.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"trainers": {"hosts": {"gpu": values}}}, sort_keys=False))
    return path


def play(inventory_file: Path, playbook: str, *more: str) -> tuple[float, int]:
    """Seconds, and how many tasks changed something. Raises ProofError when it fails."""
    say(f"ansible-playbook {playbook} {' '.join(more)}")
    begin = time.monotonic()
    words = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory_file), playbook, *more]
    changed = 0
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=CHECKOUT,
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")},
    ) as running, (OUT / "playbooks.log").open("a") as log:  # fmt: skip
        for line in running.stdout or ():
            log.write(line)
            print(f"    {line}", end="", flush=True)
            changed += sum(int(count) for count in re.findall(r"ok=\d+ +changed=(\d+)", line))
    if running.returncode:
        raise ProofError(f"{playbook} failed (exit {running.returncode}), see {OUT / 'playbooks.log'}")
    return round(time.monotonic() - begin, 1), changed


def starts() -> list[tuple[str, int]]:
    """For each start in the trainer's log: the loaded folder, and the newest step (-1: none yet)."""
    text = LOG.read_text(errors="replace") if LOG.exists() else ""
    parts = text.split("Loading checkpoint from ")[1:]
    return [
        (part.partition(".\n")[0], max((int(step) for step in re.findall(r"\(step=(\d+)\)", part)), default=-1))
        for part in parts
    ]


def failure() -> dict[str, Any]:
    """The supervisor's record of the last failed start."""
    return dict(json.loads(FAILURE.read_text())) if FAILURE.exists() else {}


def wait_for(what: str, seconds: float, true: Callable[[], bool]) -> None:
    until, said = time.monotonic() + seconds, time.monotonic()
    while not true():
        if time.monotonic() > until:
            raise ProofError(f"after {seconds:.0f} s still no {what}")
        if time.monotonic() - said > 10:
            say(f"waiting for {what}")
            said = time.monotonic()
        time.sleep(0.2)


def ranks() -> list[int]:
    """Process ids of the trainer's ranks in their order: the children of torchrun, and not the loaders' workers."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            above = Path(f"/proc/{parent}/cmdline").read_bytes()
            own = re.search(rb"(?:^|\0)RANK=(\d+)\0", (entry / "environ").read_bytes())
        except (OSError, ValueError, IndexError):
            continue
        ours = any(b"pretrain_unified_navit" in word for word in words)
        if own and ours and b"torchrun" not in b" ".join(words) and b"torchrun" in above:
            found[int(own[1])] = int(entry.name)
    return [found[rank] for rank in sorted(found)]


class Memory(threading.Thread):
    """The most memory that nvidia-smi ever showed in use, in MiB, by GPU."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks: list[int] = []

    def run(self) -> None:
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while True:
            done = subprocess.run(query, capture_output=True, text=True, check=False)
            used = [int(word) for word in done.stdout.split() if word.isdigit()]
            self.peaks = [max(pair) for pair in zip_longest(self.peaks, used, fillvalue=0)]
            time.sleep(0.25)


def break_one(fault: Fault) -> dict[str, Any]:
    """Sends the signal to the last rank, and waits until the failure is named and the next start makes steps."""
    begun, before = len(starts()), failure()
    wait_for(f"step {fault.step}", 300, lambda: starts()[-1][1] >= fault.step)
    victims = ranks()
    if not victims:
        raise ProofError("no rank of the trainer was found")
    name, last = fault.signal.name, len(victims) - 1
    say(f"{name} to rank {last} of {len(victims)} at step {starts()[-1][1]}")
    os.kill(victims[last], fault.signal)
    moment = time.monotonic()
    wait_for("a failure in the record", 300, lambda: failure().get("invocation") != before.get("invocation"))
    noticed, failed = time.monotonic() - moment, failure()
    if failed["kind"] != fault.kind:
        raise ProofError(f"{name} of a rank was named {failed['kind']} ({failed['line']}), not {fault.kind}")
    say(f"{failed['kind']}: {failed['line']}")
    wait_for("a step after the resume", 300, lambda: len(starts()) > begun and starts()[-1][1] >= 0)
    if not starts()[-1][0].startswith(str(CHECKPOINTS)):
        raise ProofError(f"the next start loaded {starts()[-1][0]}, no checkpoint")
    return {
        f"{name}, rank and step": f"{last} of {len(victims)}, {fault.step}",
        f"{name}, named": f"{failed['kind']}: {failed['line']}",
        f"{name}, until it was named, s": round(noticed, 1),
        f"{name}, resumed from": starts()[-1][0],
        f"{name}, until the next step, s": round(time.monotonic() - moment, 1),
    }


def shards(wanted: int) -> list[str]:
    """The optimizer's files of the newest checkpoint, one for each shard. `wanted`: how many; 0: one for each GPU."""
    newest = max(CHECKPOINTS.iterdir())
    files = sorted(path.name for path in newest.glob("optimizer.*.pt"))
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    gpus = len(listed.stdout.splitlines())
    if len(files) != (wanted or gpus):
        raise ProofError(f"{newest} has {files}, not {wanted or gpus} shards")
    return files


def prove(canvas: Path, python: str) -> dict[str, Any]:
    begin = time.monotonic()
    results: dict[str, Any] = {}
    say("a small random model of the real classes, and 200 puzzles")
    counts = small_model(python, canvas)
    write_dataset(ROOT / "made/data", 200, 20)
    memory = Memory()
    memory.start()
    with hub(ROOT / "made/model") as facts:
        values = variables(facts, counts)
        hosts = inventory(values)
        results["site.yml until the first step, s"], _ = play(hosts, "site.yml")
        for fault in FAULTS:
            results |= break_one(fault)
        results["following to the end, s"], _ = play(hosts, "playbooks/status.yml", "-e", "training_follow=true")
        results["converged site.yml, s"], changed = play(hosts, "site.yml")
    if changed:
        raise ProofError(f"the converge of the finished run changed {changed}")
    results |= {"shards of the last checkpoint": shards(int(values.get("run_config_processes", 0))), **counts}
    results |= {"peak of each GPU by nvidia-smi, MiB": memory.peaks, **lines_of(LOG)}
    results["all of it, s"] = round(time.monotonic() - begin, 1)
    return results


def lines_of(log: Path) -> dict[str, Any]:
    """Lines of the trainer's log for each claim."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace"))
    keep = (
        "Loading checkpoint from",
        "_IncompatibleKeys",
        "Training from scratch",
        "Saving checkpoint",
        "Reached total_steps",
    )
    results = [line for line in text.splitlines() if any(word in line for word in keep)]
    if any("Training from scratch" in line for line in results):
        raise ProofError("the log says 'Training from scratch.': the weights were not loaded")
    return {"log": results}


def main() -> int:
    try:
        check()
        OUT.mkdir(parents=True, exist_ok=True)
        upstream = os.environ.get("CANVAS_UPSTREAM", "")
        prefix = os.environ.get("CANVAS_ENV", "")
        if not (upstream and prefix):
            raise ProofError("set CANVAS_UPSTREAM and CANVAS_ENV (docs/gpu-proof.md)")
        inner = Path(upstream) / "BAGEL-Canvas"
        results = prove(inner if inner.is_dir() else Path(upstream), f"{prefix}/bin/python")
    except ProofError as error:
        print(f"canvas-fleet: {error}", file=sys.stderr)
        return 1
    (OUT / "proof.json").write_text(json.dumps(results, indent=2) + "\n")
    width = max(len(name) for name in results)
    for name, value in results.items():
        for number, line in enumerate(value if isinstance(value, list) else [value]):
            print(f"{'' if number else name:<{width}}  {line}")
    say(f"shown in {duration(results['all of it, s'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
