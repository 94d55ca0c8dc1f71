"""Pins and locks: wanted versions of packages, and the versions in a lock. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

SHOWN = 4  # differences that a reason names before it says how many more there are
HEAD = re.compile(r"#.*\bfor Python (\d+\.\d+)")
CONDA_SPEC = re.compile(r"\s*([^\s=<>!~\[]*)\s*(?:(={1,2})\s*([\w.*]+))?")  # ffmpeg, ffmpeg=6, ffmpeg >=5
PIN = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*==\s*([^\s;,]+)\s*(?:;.*)?")


def lock_lines(lines: Iterable[Any]) -> tuple[str, ...]:
    """The packages of a lock, without comments and head line."""
    texts = (str(line).strip() for line in lines)
    return tuple(text for text in texts if text and not text.startswith(("#", "@")))


def made_for(lines: Iterable[Any]) -> str:
    """The Python in a lock's head line; "" without one."""
    return next((found[1] for line in lines if (found := HEAD.match(str(line)))), "")


def conda_versions(lock: Iterable[str]) -> dict[str, str]:
    """Version by name of a lock of conda: …/linux-64/python-3.10.18-h0_0.conda#sha256:…"""
    names = (line.split("#")[0].rsplit("/", 1)[-1].rsplit("-", 2) for line in lock)
    return {name[0].lower(): name[1] for name in names if len(name) == 3}


def conda_stale(lock: Iterable[str], specs: Iterable[str]) -> list[str]:
    """Packages of a conda lock that differ from the wanted ones; [] without a lock or difference."""
    have = conda_versions(lock)
    wrong = []
    for spec in specs if have else ():
        name, given, version = CONDA_SPEC.findall(spec.rpartition("::")[2])[0]
        found = have.get(name.lower(), "missing")
        if found == "missing" or (given and not (found + ".").startswith(version.rstrip("*.") + ".")):
            wrong.append(f"{name} {found}")
    return wrong


def pins_of(requirements: Iterable[str]) -> dict[str, str]:
    matches = (PIN.fullmatch(text) for text in requirements)
    return {normalised(match[1]): match[2] for match in matches if match}


def normalised(name: str) -> str:
    """The one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def same_version(have: str, pin: str) -> bool:
    """A pin without a local part fits any build of that version: 2.7.1+cu128 is 2.7.1."""
    return have == pin or ("+" not in pin and have.split("+", 1)[0] == pin)


def stale(lock: Iterable[str], requirements: Iterable[str]) -> list[str]:
    """Packages of a pip lock that differ from the requirements; [] without a lock or difference."""
    texts = [str(text).strip() for text in requirements]
    locked, asked = pins_of(line.split(" ")[0] for line in lock), pins_of(texts)
    if not locked:
        return []
    wrong = [
        f"{name} {locked.get(name, 'missing')}"
        for name, pin in asked.items()
        if not same_version(locked.get(name, ""), pin)
    ]
    names = (normalised(re.split(r"[\s\[<>=!~;]", text)[0]) for text in texts)
    return wrong + [f"{name} missing" for name in names if name not in locked and name not in asked]


def shortened(parts: list[str]) -> str:
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return ", ".join(parts[:SHOWN]) + more
