"""The attacked host, and what attacks are made of. Everything here is done as the training account."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

HOST = Path(os.environ.get("TRUST_HOST", "/"))  # a test's own tree takes the place of the host
ROOT, STATE = HOST / "srv/blockmoving", HOST / "var/lib/canvas-fleet"
TARGETS, RAN, SAVED = HOST / "srv/targets", HOST / "srv/ran", ROOT / ".attack"
UNIT = "canvas-training-victim"
RESULTS, OWN = ROOT / "outputs/victim", STATE / "training" / UNIT / "own"
CHECKPOINTS, KEPT = RESULTS / "checkpoints", RESULTS / "kept"
SCRIPTS, CODE = ROOT / "BlockMovingSFT/scripts", ROOT / "MathCanvas/BAGEL-Canvas"
SCRIPT, TRAIN, MODEL = SCRIPTS / "train_blockmoving.sh", ROOT / "BlockMovingSFT/train", ROOT / "models/BAGEL-7B-MoT"
CONDA = ROOT / "miniforge3"
SECONDS = 120  # that a race goes on
LONG = 400  # that the account watches
ROUNDS: dict[str, dict[str, Callable[[str], None]]] = {}


def attack(round_: str) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    """Registers an attack of a round. It gets its own name, which is that of its target."""

    def register(plant: Callable[[str], None]) -> Callable[[str], None]:
        ROUNDS.setdefault(round_, {})[plant.__name__] = plant
        return plant

    return register


def target(name: str) -> Path:
    """The file of root's that this attack is after."""
    return TARGETS / name / "file"


def oldest() -> Path:
    """The folder of the oldest checkpoint that is kept."""
    return min((path for path in KEPT.glob("*") if path.name.isdigit()), default=KEPT / "0000020")


def newest() -> Path:
    return max((path for path in KEPT.glob("*") if path.name.isdigit()), default=KEPT / "0000040")


def secret(name: str) -> str:
    return f"canary-{name}-of-root"


def control(name: str) -> str:
    """Clipboard, title, a colour, a line of its own, and text that runs backwards."""
    return f"{name}\x1b]52;c;{name}\x07\x1b[31m\r\x9b2J\u202e"


def swap(path: Path, make: Callable[[Path], object]) -> None:
    """Something else takes the place of `path`; clear() puts back what was there."""
    SAVED.mkdir(exist_ok=True)
    number = len(list(SAVED.glob("*.path")))
    (SAVED / f"{number:04d}.path").write_text(str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        path.rename(SAVED / f"{number:04d}.was")
    make(path)


def link(path: Path, to: Path) -> None:
    swap(path, lambda place: place.symlink_to(to))


def text(path: Path, content: str | bytes) -> None:
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    swap(path, lambda place: place.write_bytes(data))


def program(path: Path, name: str) -> None:
    """A program that says who runs it."""
    text(path, f"#!/bin/sh\necho ran >{RAN}/{name}.$(id -u)\n")
    path.chmod(0o755)


def race(name: str, path: Path, to: Path) -> None:
    """For some seconds the folder at `path` is itself, and a link, in turn. In the end it is itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    trap = path.with_name(f".{path.name}.{name}")
    trap.symlink_to(to)

    def swapped() -> None:
        with suppress(OSError):
            exchange(path, trap)
            time.sleep(0.0005)
            exchange(path, trap)
            time.sleep(0.0045)  # mostly itself, so that root does not give up at the first look

    def ended() -> None:
        if path.is_symlink():
            exchange(path, trap)
        trap.unlink()

    go_on(swapped, ended)


def go_on(each: Callable[[], None], ended: Callable[[], None] = lambda: None, seconds: int = SECONDS) -> None:
    """In a process of its own, until clear() or the end of its time."""
    if os.fork():
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    end = time.monotonic() + seconds
    while time.monotonic() < end and (SAVED / "races").exists():
        each()
    with suppress(OSError):
        ended()
    os._exit(0)


def exchange(one: Path, other: Path) -> None:
    """Both names change places in one step. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).renameat2(-100, bytes(one), -100, bytes(other), 2):
        raise OSError(ctypes.get_errno(), "renameat2", str(one))


class Evil:
    """Whoever unpickles it runs a program."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"echo ran >{RAN}/{self.name}.$(id -u)",)


def torch_file(path: Path, data: bytes, copies: int = 1) -> None:
    """As torch.save makes it, with this pickle."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", data * copies)
        archive.writestr("archive/version", b"3\n")


def tell(*command: str) -> None:
    """A command that is to be refused."""
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=10)


def acted(name: str, how: str) -> None:
    """Without any help of root's the account got where it must not."""
    (RAN / f"{name}.0").write_text(how)
