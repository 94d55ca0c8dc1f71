"""The unit tests, and the plan of the shipped example, on each ansible-core with its oldest and its newest Python.

python -m tools.matrix [CORE...]    cores: 2.19 2.20 2.21; none: all

uv finds or downloads the Pythons. A missing one is named and left out. The example is planned by its full
name, from an empty folder, by the installed artifact (`python -m tools.artifact`). Its address is replaced by a port of
this machine at which nothing listens: the plan has to say so, and nothing else.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.artifact import INSTALLED, PLACE, ROOT

UV = str(Path(sys.executable).with_name("uv"))
ENVIRONMENTS = ROOT / ".cache" / "matrix"
CORES = {  # release -> the version, its oldest and its newest Python for a controller
    "2.19": ("2.19.14", ("3.11", "3.13")),
    "2.20": ("2.20.10", ("3.12", "3.14")),
    "2.21": ("2.21.5", ("3.12", "3.14")),
}
NEXT_OLDEST = {"3.14": "3.13"}  # where a distribution has no newer one
ROW = "{core:<8} {python:<7} {tests:<34} {plan:<24} {seconds:>6.0f} s"


@dataclass(frozen=True)
class Row:
    core: str
    python: str
    tests: str
    plan: str
    seconds: float

    @property
    def passed(self) -> bool:
        return "failed" not in self.tests + self.plan and "error" not in self.tests


def environment(core: str, python: str) -> Path | None:
    """Of requirements-dev.txt with another ansible-core: its folder of programs. None without such a Python."""
    place = ENVIRONMENTS / f"{core}-{python}"
    if call([UV, "venv", "--quiet", "--clear", "--python", python, str(place)]).returncode:
        return None
    pin = ENVIRONMENTS / f"{core}.txt"
    pin.write_text(f"ansible-core=={core}\n")
    words = ["pip", "install", "--quiet", "--python", str(place), "-r", str(ROOT / "requirements-dev.txt")]
    call([UV, *words, "--overrides", str(pin)]).check_returncode()
    return place / "bin"


def call(words: Sequence[str], **named: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **named}
    return subprocess.run(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def tested(place: Path) -> str:
    """The last line of pytest."""
    done = call(
        [str(place / "pytest"), "-n", "2", "--no-header", "-q", "tests/unit"], PATH=f"{place}:{os.environ['PATH']}"
    )
    (ENVIRONMENTS / f"{place.parent.name}.log").write_text(done.stdout)
    last = done.stdout.strip().splitlines()[-1].strip("= ")
    return last if done.returncode == 0 or "failed" in last or "error" in last else f"failed: {last}"


def planned(place: Path) -> str:
    """Whether the plan says that the host is not reached, and finds nothing else to say of the example."""
    with socket.socket() as reserved, tempfile.TemporaryDirectory() as folder:
        reserved.bind(("127.0.0.1", 0))  # bound, so that nobody else takes the port, and not listening
        words = [str(place / "ansible-playbook"), "-i", str(INSTALLED / "inventory" / "example"), "canvas.fleet.plan"]
        words += ["-e", "ansible_host=127.0.0.1", "-e", f"ansible_port={reserved.getsockname()[1]}"]
        env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(PLACE), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wrong = [word for word in ("Traceback", "VARIABLE_", "DEPRECATION", "does not support") if word in done.stdout]
    if done.returncode != 2 or "SSH_REFUSED" not in done.stdout or wrong:
        sys.stdout.write(done.stdout)
        return f"failed ({done.returncode}{', ' if wrong else ''}{', '.join(wrong)})"
    return "as expected"


def row(core: str, python: str) -> Row:
    begun = time.monotonic()
    place = environment(core, python)
    if not place and python in NEXT_OLDEST:
        return row(core, NEXT_OLDEST[python])
    tests, plan = (tested(place), planned(place)) if place else ("no such Python", "–")
    return Row(core, python, tests, plan, time.monotonic() - begun)


def main(names: list[str]) -> int:
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in names or CORES:
        core, pythons = CORES[name]
        for python in pythons:
            rows.append(row(core, python))
            sys.stdout.write(ROW.format(**vars(rows[-1])) + "\n")
            sys.stdout.flush()
    return 0 if all(one.passed for one in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
