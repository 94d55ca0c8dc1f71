"""Steps that are slow, and uneven, but go on: the watchdog must not take them for a hang. An hour by default."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from demo import bench, fleet, hosts
from demo.podman import STATE
from tests.chaos import faults

GROUP = hosts.Group(STATE / "chaos-slow", "chaosslow")
HOST = "snail"
EVERY = 60.0  # seconds between two speeds
SPEEDS = ("8%", "12%", "20%", "40%")  # of one core, for both ranks and their loaders
Row = dict[str, object]


def run(points: int, say: Callable[[str], None]) -> list[Row]:
    """`points`: seconds."""
    depot = fleet.ensure_depot()
    hosts.down(GROUP)
    address = hosts.up(GROUP, [HOST])[HOST]
    folder = bench.inventory(GROUP, GROUP.state / "inventory", {HOST: address}, depot, light=False)
    training = faults.Training("slow", (HOST,), GROUP, folder)
    training.play(run_config_total_steps=100_000, run_config_save_every=200, run_config_log_every=1)
    chance = random.Random(5)  # noqa: S311 - repeatable, not secret
    begin, lines = time.monotonic(), len(training.log().splitlines())
    speeds: list[str] = []
    while time.monotonic() - begin < points and training.active() == "active":
        speeds.append(chance.choice(SPEEDS))
        training.inside(HOST, f"systemctl set-property --runtime {training.unit} CPUQuota={speeds[-1]}")
        time.sleep(min(EVERY, max(1.0, points - (time.monotonic() - begin))))
        say(f"{time.monotonic() - begin:5.0f} s  {speeds[-1]:>4} of a core  step {training.step()}")
    told = {
        "seconds": round(time.monotonic() - begin),
        "steps": training.step(),
        "lines": len(training.log().splitlines()) - lines,
        "changes of speed": len(speeds),
        "failure": training.own("failure.json").get("kind", "-"),
        "starts": 1 + len(faults.resumed(training)),
    }
    hosts.down(GROUP)
    return [{**told, "held": told["failure"] == "-" and told["starts"] == 1 and told["seconds"] >= points}]


def summary(rows: Sequence[Row]) -> str:
    return "; ".join(
        f"{row['seconds']} s of slow steps ({row['steps']}): false alarms {row['failure']}" for row in rows
    )
