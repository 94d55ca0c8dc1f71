"""`make gpu-proof`: the whole way on a machine with an NVIDIA GPU: the real trainer and a small random model.

It runs site.yml for this very machine (local connection), kills the trainer in the middle, and follows the run to its
end. What it showed on an H100, and what it could not show there: docs/gpu-proof.md.

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from demo.depot.hub import REPO, make_hub
from demo.depot.server import make_server
from demo.minicanvas.tiny_model import write_model
from demo.puzzles.generate import write_dataset
from demo.steps import CHECKOUT, REPORTS, duration

ROOT = Path("/srv/canvas-gpu-proof")
OUT = REPORTS / "gpu-proof"
PORT = 18480
STEPS, SAVE_EVERY, KILL_AT = 60, 20, 30
UNIT = "canvas-training-gpu"


class ProofError(Exception):
    """What could not be shown."""


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
        "fleet_state_dir": "/var/lib/canvas-gpu-proof",
        "training_run": "gpu",
        "canvas_code_source": "controller",
        "canvas_code_controller_path": os.environ["CANVAS_UPSTREAM"],
        "conda_env_prefix": os.environ["CANVAS_ENV"],
        "conda_env_adopt": True,
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
    }
    if own := os.environ.get("CANVAS_VARIABLES"):
        made |= yaml.safe_load(Path(own).read_text())
    return made


def inventory(values: dict[str, Any]) -> Path:
    path = OUT / "inventory" / "hosts.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"trainers": {"hosts": {"gpu": values}}}, sort_keys=False))
    return path


def play(inventory_file: Path, playbook: str, *more: str) -> float:
    """Seconds. Raises ProofError when it fails."""
    say(f"ansible-playbook {playbook} {' '.join(more)}")
    begin = time.monotonic()
    words = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory_file), playbook, *more]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=CHECKOUT,
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")},
    ) as running, (OUT / "playbooks.log").open("a") as log:  # fmt: skip
        for line in running.stdout or ():
            log.write(line)
            print(f"    {line}", end="", flush=True)
    if running.returncode:
        raise ProofError(f"{playbook} failed (exit {running.returncode}), see {OUT / 'playbooks.log'}")
    return time.monotonic() - begin


def step_of(log: Path) -> int:
    found = re.findall(r"\(step=(\d+)\)", log.read_text(errors="replace")) if log.exists() else []
    return int(found[-1]) if found else -1


def wait_for(what: str, seconds: float, true: Any) -> None:
    until, said = time.monotonic() + seconds, time.monotonic()
    while not true():
        if time.monotonic() > until:
            raise ProofError(f"after {seconds:.0f} s still no {what}")
        if time.monotonic() - said > 10:
            say(f"waiting for {what}")
            said = time.monotonic()
        time.sleep(0.2)


def ranks() -> list[int]:
    """Process ids of the trainer's ranks: the children of torchrun, not torchrun itself, nor the loaders' workers."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            above = Path(f"/proc/{parent}/cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        ours = any(b"pretrain_unified_navit" in word for word in words)
        if ours and b"torchrun" not in b" ".join(words) and (b"torchrun" in above or b"torch.distributed.run" in above):
            found.append(int(entry.name))
    return found


class Memory(threading.Thread):
    """The most memory that nvidia-smi ever showed in use, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0

    def run(self) -> None:
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while True:
            done = subprocess.run(query, capture_output=True, text=True, check=False)
            self.peak = max([self.peak, *(int(word) for word in done.stdout.split() if word.isdigit())])
            time.sleep(0.25)


def prove(canvas: Path, python: str) -> dict[str, Any]:
    begin, told = time.monotonic(), {}
    say("a small random model of the real classes, and 200 puzzles")
    counts = small_model(python, canvas)
    write_dataset(ROOT / "made/data", 200, 20)
    memory = Memory()
    memory.start()
    with hub(ROOT / "made/model") as facts:
        hosts = inventory(variables(facts, counts))
        told["site.yml until the first step, s"] = round(play(hosts, "site.yml"), 1)
        log = ROOT / "root/outputs/gpu/log.txt"
        wait_for(f"step {KILL_AT}", 300, lambda: step_of(log) >= KILL_AT)
        victims = ranks()
        if not victims:
            raise ProofError("no rank of the trainer was found to be killed")
        at = step_of(log)
        say(f"SIGKILL to rank process {victims[0]} at step {at}")
        os.kill(victims[0], signal.SIGKILL)
        killed = time.monotonic()
        wait_for(
            "a start that resumes", 300, lambda: log.read_text(errors="replace").count("Loading checkpoint from") >= 2
        )
        resumed = (
            log.read_text(errors="replace").rpartition("Loading checkpoint from ")[2].split(".\n")[0].split("\n")[0]
        )
        wait_for("a step after the resume", 300, lambda: step_of(log) != at)
        told |= {
            "killed at step": at,
            "resumed from": resumed,
            "from kill to next step, s": round(time.monotonic() - killed, 1),
        }
        told["following to the end, s"] = round(play(hosts, "playbooks/status.yml", "-e", "training_follow=true"), 1)
        told["converged site.yml, s"] = round(play(hosts, "site.yml"), 1)
    told |= {**counts, "peak GPU memory by nvidia-smi, MiB": memory.peak, **lines_of(log)}
    told["all of it, s"] = round(time.monotonic() - begin, 1)
    return told


def lines_of(log: Path) -> dict[str, Any]:
    """What the trainer's own log says for each claim."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace"))
    keep = (
        "Loading checkpoint from",
        "_IncompatibleKeys",
        "Training from scratch",
        "Saving checkpoint",
        "Reached total_steps",
    )
    told = [line for line in text.splitlines() if any(word in line for word in keep)]
    if any("Training from scratch" in line for line in told):
        raise ProofError("the log says 'Training from scratch.': the weights were not loaded")
    return {"log": told}


def main() -> int:
    try:
        check()
        OUT.mkdir(parents=True, exist_ok=True)
        upstream = os.environ.get("CANVAS_UPSTREAM", "")
        prefix = os.environ.get("CANVAS_ENV", "")
        if not (upstream and prefix):
            raise ProofError("set CANVAS_UPSTREAM and CANVAS_ENV (docs/gpu-proof.md)")
        inner = Path(upstream) / "BAGEL-Canvas"
        told = prove(inner if inner.is_dir() else Path(upstream), f"{prefix}/bin/python")
    except ProofError as error:
        print(f"canvas-fleet: {error}", file=sys.stderr)
        return 1
    (OUT / "proof.json").write_text(json.dumps(told, indent=2) + "\n")
    width = max(len(name) for name in told)
    for name, value in told.items():
        for number, line in enumerate(value if isinstance(value, list) else [value]):
            print(f"{'' if number else name:<{width}}  {line}")
    say(f"shown in {duration(told['all of it, s'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
