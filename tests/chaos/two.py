"""Two controllers at once on one host, in real processes: one value, no torn read, no update lost unnoticed.

Each looks, plans, and writes the trainer's files as the module run_files does, under the host lock. A third process
reads all the while. Every seventh round one of the two is killed in the middle of its writes.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.system import files, host_lock, managed_files, ownership
from ansible_collections.canvas.fleet.plugins.plugin_utils import controller

from tests.unit.support import run_texts
from tests.unit.support.run_settings import lay_out, settings, topology

PROCESSES = multiprocessing.get_context("fork")
RATES = (1e-5, 2e-5)
KILLED = 7  # every so many rounds
Row = dict[str, Any]


def run(points: int, say: Callable[[str], None]) -> list[Row]:
    ownership.owner_of = lambda user, group: ownership.Owner(os.getuid(), os.getgid())  # the account is not made here
    with tempfile.TemporaryDirectory(prefix="canvas-two-") as place:
        lay_out(Path(place) / "host")
        rows = []
        for number in range(points):
            rows.append(one_round(Path(place), number))
            if not rows[-1]["held"] or (number + 1) % 20 == 0:
                say(f"round {number + 1}: {rows[-1]}")
    return rows


def one_round(place: Path, number: int) -> Row:
    # A moment, since one that is killed at a barrier takes the barrier's lock along.
    begun, over = time.monotonic() + 0.15, PROCESSES.Event()
    reads = PROCESSES.Process(target=reader, args=(place, begun, over))
    both = [PROCESSES.Process(target=converge, args=(place, name, number, begun)) for name in (0, 1)]
    for process in (reads, *both):
        process.start()
    if kills := number % KILLED == KILLED - 1:
        until(begun + 0.02)
        os.kill(both[number % 2].pid or 0, signal.SIGKILL)
    for process in both:
        process.join(60)
    over.set()
    reads.join(60)
    after = PROCESSES.Process(target=converge, args=(place, 2, number, 0.0))  # a third comes when both are gone
    after.start()
    after.join(60)
    return judged(place, number, kills)


def until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def converge(place: Path, name: int, number: int, begun: float) -> None:
    """Look and plan, then write: the outcome goes into a file of this process."""
    lock, me = str(place / "lock"), controller.identity()
    me["id"], me["pid"], me["started"] = f"{number}-{name}", str(os.getpid()), controller.started(str(os.getpid()))
    changes = {"run_config_lr": RATES[name % 2], "run_config_warmup_steps": number + 1}
    wanted = settings(place / "host", run_config_optimizer="adamw", **changes)  # its flag would be the last line
    outcome: Row = {"me": me["id"], "text": run_texts.texts(wanted, topology()).script}
    me["seen"] = outcome["seen"] = host_lock.observed(me, lock)["last"]
    until(begun)
    try:
        try:
            outcome["order"] = written(me, lock, wanted)
        except host_lock.HostLockedError as error:  # as RoleAction.module() does
            holder = error.as_result()["holder"]
            if not controller.is_gone(holder):
                raise
            outcome["order"] = written({**me, "over": holder["id"]}, lock, wanted)
    except host_lock.HostLockedError as error:
        outcome["refused"] = error.code
    (place / f"outcome-{name}").write_text(json.dumps(outcome))


def written(me: dict[str, str], lock: str, wanted: Any) -> float:
    with host_lock.held(me, lock) as hold:
        run_texts.converge(wanted, topology(), "")
        hold.over = True
        return time.monotonic()


def reader(place: Path, begun: float, over: Event) -> None:
    """Reads as fast as it can: a script ends as it must, and the record is whole, at every moment."""
    script = settings(place / "host")["run_config_script"]
    record = os.path.join(settings(place / "host")["fleet_state_dir"], "run_config.json")
    count, torn = 0, 0
    until(begun)
    while not over.is_set():
        text = files.text(script)
        torn += bool(text) and not (text.startswith("#!/bin/bash") and text.endswith("--wandb_runid 0\n"))
        noted = files.text(record)
        try:
            json.loads(noted or "{}")
        except ValueError:
            torn += 1
        count += 2
    (place / "reads").write_text(json.dumps({"reads": count, "torn": torn}))


def judged(place: Path, number: int, kills: bool) -> Row:
    """What came of the round: `lost`: an update that another overwrote without having seen it."""
    outcomes = [json.loads(path.read_text()) for path in sorted(place.glob("outcome-*"))]
    for path in place.glob("outcome-*"):
        path.unlink()
    wrote = sorted((one for one in outcomes if "order" in one), key=lambda one: one["order"])
    known = (f"{number}-{number % 2}",) if kills else ()  # the one that was killed may have written in between
    lost = [two["me"] for one, two in itertools.pairwise(wrote) if two["seen"] not in (one["me"], *known)]
    script = settings(place / "host")["run_config_script"]
    value = bool(wrote) and files.text(script) == wrote[-1]["text"]
    kept = [path.name for path in (place / "host").rglob("*.user-*")]
    record = managed_files.Record(os.path.join(settings(place / "host")["fleet_state_dir"], "run_config.json"))
    reads = json.loads((place / "reads").read_text())
    refused = Counter(one["refused"] for one in outcomes if one.get("refused"))
    third = any(one["me"] == f"{number}-2" and "order" in one for one in outcomes)
    row = {"round": number, "killed": kills, "wrote": len(wrote), "refused": dict(refused), "lost": lost, **reads}
    row.update(value=value, kept=kept, third=third, noted=record.wrote(script))
    row["held"] = value and third and not lost and not reads["torn"] and not kept
    return row


def summary(rows: list[Row]) -> str:
    total = {name: sum(row[name] for row in rows) for name in ("wrote", "reads", "torn", "killed")}
    refused = sum((Counter(row["refused"]) for row in rows), Counter())
    lost, values = sum(len(row["lost"]) for row in rows), sum(row["value"] for row in rows)
    said = ", ".join(f"{code} {count}" for code, count in sorted(refused.items()))
    return (
        f"two: {len(rows)} rounds of two controllers, {total['killed']} killed: one value in {values}, "
        f"{total['torn']} torn of {total['reads']:,} reads, {lost} updates lost unnoticed; "
        f"{total['wrote']} wrote, stopped: {said or 'none'}"
    )
