#!/usr/bin/env python3
"""The training account attacks its host, and through it the controller. Each attack has a target of root's own.

    attacks.py targets                root lays the targets
    attacks.py plant|clear ROUND      the account lays its traps, and takes them away
    attacks.py oldest                 the step of the oldest checkpoint that is kept
    attacks.py judge ROUND <OUTPUT    root looks what came of it: JSON, attack -> effects that must not be

A target is a folder that root alone may enter. In it lie a file with a secret, and nothing else. An attack went through
when the target changed, when its secret is where the account or the controller's output holds it, or when a program of
the account ran as root. `strange` tells which control characters a terminal would have got.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import cases  # noqa: F401 - it registers its attacks
import direct  # noqa: F401 - so does it
import later  # noqa: F401
from host import (
    CHECKPOINTS,
    CODE,
    KEPT,
    MODEL,
    RAN,
    RESULTS,
    ROOT,
    ROUNDS,
    SAVED,
    STATE,
    control,
    oldest,
    secret,
    target,
)

STRANGE = ("Cc", "Cf", "Cs")  # controls, invisible marks, halves of characters


def lay_targets() -> None:
    for name in (name for attacks in ROUNDS.values() for name in attacks):
        target(name).parent.mkdir(parents=True, exist_ok=True)
        target(name).write_text(f'{{"{secret(name)}": 1}}\n')
        target(name).chmod(0o600)
        target(name).parent.chmod(0o700)
    RAN.mkdir(exist_ok=True)
    RAN.chmod(0o1777)


def plant(round_: str) -> None:
    SAVED.mkdir(exist_ok=True)
    (SAVED / "races").touch()
    for name, laid in ROUNDS[round_].items():
        try:
            laid(name)
        except PermissionError as error:  # the account cannot even lay it
            sys.stderr.write(f"{name}: {error}\n")


def clear() -> None:
    (SAVED / "races").unlink(missing_ok=True)
    time.sleep(0.1)
    for note in sorted(SAVED.glob("*.path"), reverse=True):
        path, was = Path(note.read_text()), note.with_suffix(".was")
        with suppress(OSError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        with suppress(OSError):
            if os.path.lexists(was):
                was.rename(path)
        note.unlink()
    for folder in (CHECKPOINTS, KEPT, MODEL, CODE, RESULTS):
        with suppress(OSError):
            folder.joinpath(control("names_hold_control_characters")).rmdir()
    for step in CHECKPOINTS.glob("09*"):
        shutil.rmtree(step, ignore_errors=True)


def effects(name: str, output: bytes) -> Iterator[str]:
    file, folder = target(name), target(name).parent
    if [path.name for path in folder.iterdir()] != ["file"] or secret(name) not in file.read_text():
        yield "something else lies in the target"
    elif (file.stat().st_uid, file.stat().st_mode & 0o7777) != (os.getuid(), 0o600):
        yield "the file has another owner or mode"
    elif (folder.stat().st_uid, folder.stat().st_mode & 0o7777) != (os.getuid(), 0o700):
        yield "the folder has another owner or mode"
    if secret(name).encode() in output:
        yield "the controller showed the secret"
    if secret(name) in told():
        yield "the account can read the secret"
    if (RAN / f"{name}.0").exists():
        yield "it acted as root"


@cache
def told() -> str:
    """All secrets that lie where the account can read them."""
    small = ["-type", "f", "-size", "-4M", "-not", "-path", "*/miniforge3/*", "-not", "-path", "*/agent.d/*"]
    grep = ["grep", "-haoE", "canary-[a-z_]+-of-root"]
    command = ["find", str(ROOT), str(STATE), str(RAN), *small, "-exec", *grep, "{}", "+"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def judge(round_: str, output: bytes) -> dict[str, list[str]]:
    """Attack -> effects; `none` is a round without attacks."""
    return {name: seen for name in ROUNDS.get(round_, ()) if (seen := list(effects(name, output)))}


def strange(output: bytes) -> list[str]:
    """What no terminal should get, with what stands before it."""
    shown = output.decode("utf-8", "surrogateescape")
    found = (number for number, one in enumerate(shown) if unicodedata.category(one) in STRANGE and one != "\n")
    return [ascii(shown[max(0, number - 40) : number + 10]) for number in itertools.islice(found, 5)]


def main(words: list[str]) -> int:
    if words == ["targets"]:
        lay_targets()
    elif words[:1] == ["plant"]:
        plant(words[1])
    elif words == ["clear"]:
        clear()
    elif words == ["oldest"]:
        sys.stdout.write(oldest().name.lstrip("0"))
    else:
        output = sys.stdin.buffer.read()
        attacks = sorted(ROUNDS.get(words[1], ()))
        json.dump({"attacks": attacks, "went_through": judge(words[1], output), "strange": strange(output)}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
