"""Hosts, processes, disks and networks break under real trainings of the embedded fleet; each has to end whole.

`lone` trains alone, `pair0` and `pair1` share a run; the minicanvas trainer stands in for the real one (docs/demo.md),
systemd, ssh and the network are real. Each fault is a run of its own. Reported are: the recorded class, how
long it took from the fault to the class, the step that the next start resumed from, and the steps that were made twice.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo import bench, fleet, hosts
from demo.podman import CHECKOUT, STATE, podman

GROUP = hosts.Group(STATE / "chaos-faults", "chaosfault")
LONE, PAIR = "lone", ("pair0", "pair1")
ROOT = "/srv/blockmoving"
STEPS, SAVE_EVERY = 120, 20
Row = dict[str, object]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Training:
    """One run. `hosts` in rank order; the first one has the log."""

    run: str
    members: tuple[str, ...]
    group: hosts.Group
    inventory: Path

    @property
    def unit(self) -> str:
        return f"canvas-training-{self.run}"

    @property
    def outputs(self) -> str:
        return f"{ROOT}/outputs/{self.run}"

    def play(self, playbook: str = "site.yml", **more: object) -> str:
        given = {"run_config_total_steps": STEPS, "run_config_save_every": SAVE_EVERY, **more}
        words = ["-e", json.dumps({"training_run": self.run, **given})]
        done = subprocess.run(
            ["ansible-playbook", "-i", str(self.inventory), playbook, *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=CHECKOUT,
        )
        if done.returncode:
            raise RuntimeError(f"{playbook} of {self.run} failed:\n{done.stdout[-3000:]}{done.stderr[-500:]}")
        return done.stdout

    def inside(self, host: str, command: str) -> str:
        return podman("exec", self.group.container(host), "sh", "-c", command, check=False).stdout

    def own(self, name: str, host: str = "") -> dict[str, object]:
        text = self.inside(host or self.members[0], f"cat /var/lib/canvas-fleet/training/{self.unit}/own/{name}")
        return dict(json.loads(text)) if text.startswith("{") else {}

    def log(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self.inside(self.members[0], f"cat {self.outputs}/log.txt* 2>/dev/null"))

    def step(self) -> int:
        found = re.findall(r"\(step=(\d+)\)", self.log())
        return int(found[-1]) if found else -1

    def active(self, host: str = "") -> str:
        return self.inside(host or self.members[0], f"systemctl is-active {self.unit}").strip()


def of(run: str, members: tuple[str, ...]) -> Training:
    return Training(run, members, GROUP, GROUP.state / ("lone" if members == (LONE,) else "pair"))


def wait(what: str, true: Callable[[], object], seconds: float = 240) -> float:
    """Seconds until it is true. Raises RuntimeError when it never is."""
    begin = time.monotonic()
    while not true():
        if time.monotonic() - begin > seconds:
            raise RuntimeError(f"after {seconds:.0f} s still not: {what}")
        time.sleep(0.3)
    return time.monotonic() - begin


def rank_of(training: Training, local: int = 0) -> str:
    """The process id of a rank: the trainer's own processes below torchrun, by age."""
    script = "pgrep -f 'python.* .*pretrain_unified_navit' | while read p; do ps -o ppid= -o pid= -p $p; done"
    pairs = [tuple(line.split()) for line in training.inside(training.members[0], script).splitlines() if line.strip()]
    processes = {pid for _, pid in pairs}
    top = {pid for parent, pid in pairs if parent not in processes}
    ranks = sorted((pid for parent, pid in pairs if parent in top), key=int)
    return (ranks or sorted(top, key=int))[local]


def resumed(training: Training) -> list[str]:
    return re.findall(r"Loading checkpoint from \S*/checkpoints/(\d+)", training.log())


@contextmanager
def started(run: str, members: tuple[str, ...], **more: object) -> Iterator[Training]:
    training = of(run, members)
    training.play(**more)
    try:
        yield training
    finally:
        for host in members:
            training.inside(host, f"systemctl kill -s KILL {training.unit}; systemctl disable --now {training.unit}")


def ended_whole(training: Training, **more: object) -> bool:
    """The run reaches its last step, is saved there, and its weights were loaded: status says so by its exit code."""
    training.play("playbooks/status.yml", training_follow=True, **more)
    return True


def stopped_rank() -> Row:
    with started("sigstop", (LONE,)) as one:
        wait("step 30", lambda: one.step() >= 30)
        one.inside(LONE, f"kill -STOP {rank_of(one, 1)}")
        seconds = wait("a class", lambda: one.own("failure.json"), 150)
        kind = one.own("failure.json").get("kind")
        wait("a second start", lambda: len(resumed(one)) >= 1)
        return row(one, "a rank is stopped (SIGSTOP)", kind, seconds, limit=62)


def killed_rank() -> Row:
    with started("sigkill", (LONE,)) as one:
        wait("step 30", lambda: one.step() >= 30)
        one.inside(LONE, f"kill -KILL {rank_of(one)}")
        seconds = wait("a class", lambda: one.own("failure.json"), 100)
        kind = one.own("failure.json").get("kind")
        return row(one, "a rank is killed (SIGKILL)", kind, seconds, limit=30)


def rebooted() -> Row:
    with started("reboot", (LONE,)) as one:
        wait("step 50", lambda: one.step() >= 50)
        begin = time.monotonic()
        hosts.kill(GROUP, LONE)
        hosts.start(GROUP, LONE)
        wait("a start by itself", lambda: resumed(one), 120)
        seconds = time.monotonic() - begin
        return row(one, "the host loses power and comes back", "-", seconds, limit=120)


def full_disk() -> Row:
    one = of("diskfull", (LONE,))
    one.play(training_state="present")
    # A file system of its own for the run: one whole checkpoint fits, the next does not once the rest is filled.
    one.inside(
        LONE, f"mount -t tmpfs -o size=24m,uid=$(id -u blockmoving),gid=$(id -g blockmoving),mode=755 x {one.outputs}"
    )
    with started("diskfull", (LONE,)) as one:
        wait("step 25", lambda: one.step() >= 25)
        one.inside(LONE, f"dd if=/dev/zero of={one.outputs}/filler bs=1M 2>/dev/null")
        seconds = wait("a class", lambda: one.own("failure.json"), 150)
        kind = one.own("failure.json").get("kind")
        wait("the end of the unit", lambda: one.active() == "failed", 60)
        one.inside(LONE, f"rm {one.outputs}/filler")
        one.play()
        return row(one, "the disk is full at a save", kind, seconds, limit=150)


def rotated_log() -> Row:
    with started("rotated", (LONE,)) as one:
        wait("step 25", lambda: one.step() >= 25)
        one.inside(LONE, f"cp {one.outputs}/log.txt {one.outputs}/log.txt.1 && truncate -s 0 {one.outputs}/log.txt")
        ended_whole(one)
        return row(one, "the log is rotated under the supervisor", one.own("failure.json").get("kind", "-"), 0, limit=1)


def full_journal() -> Row:
    one = of("journal", (LONE,))
    one.inside(LONE, "mount -t tmpfs -o size=4m x /var/log/journal && systemctl restart systemd-journald")
    try:
        with started("journal", (LONE,)) as one:
            wait("step 25", lambda: one.step() >= 25)
            one.inside(LONE, "dd if=/dev/zero of=/var/log/journal/filler bs=64k 2>/dev/null")
            if "100%" not in one.inside(LONE, "df /var/log/journal"):
                raise RuntimeError("the journal's disk did not become full")
            one.inside(LONE, "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done | systemd-cat")
            ended_whole(one)
            kind = one.own("failure.json").get("kind", "-")
            return row(one, "the journal's disk is full", kind, 0 if kind == "-" else 1, limit=0)
    finally:
        one.inside(LONE, "umount -l /var/log/journal; systemctl restart systemd-journald")


def jumped_clock() -> Row:
    """Seen by the supervisor and the trainer, not by systemd: the machine's own clock is not ours to set."""
    one = of("clock", (LONE,))
    one.play(training_state="present")
    library, folder = GROUP.state / "clock.so", f"/etc/systemd/system/{one.unit}.service.d"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    podman("cp", str(library), f"{GROUP.container(LONE)}:/srv/clock.so")
    preload = "[Service]\\nEnvironment=LD_PRELOAD=/srv/clock.so\\n"
    one.inside(LONE, f"mkdir -p {folder}; printf '{preload}' > {folder}/clock.conf; systemctl daemon-reload")
    with started("clock", (LONE,)) as one:
        for step, jump in ((25, 3600), (50, -3600)):
            wait(f"step {step}", lambda least=step: one.step() >= least)
            one.inside(LONE, f"echo {jump} > /srv/clock.offset")
        ended_whole(one)
        hours = {line[:14] for line in re.findall(r"^\[(.*?)\] \(step=", one.log(), re.M)}
        if len(hours) < 3:
            raise RuntimeError(f"the trainer's clock did not jump: {hours}")
        kind = one.own("failure.json").get("kind", "-")
        return row(one, "the clock jumps an hour ahead, and two back", kind, 0 if kind == "-" else 1, limit=0)


def cut_network() -> Row:
    with started("cut", PAIR) as pair:
        wait("step 30", lambda: pair.step() >= 30)
        hosts.cut(GROUP, PAIR[1])
        try:
            seconds = wait("a class on both", lambda: all(pair.own("failure.json", host) for host in PAIR), 200)
            kinds = " / ".join(str(pair.own("failure.json", host).get("kind")) for host in PAIR)
            time.sleep(10)
        finally:
            hosts.mend(GROUP, PAIR[1])
        return row(pair, "the network between the nodes is cut for a while", kinds, seconds, limit=90)


def lost_node() -> Row:
    with started("node", PAIR) as pair:
        wait("step 50", lambda: pair.step() >= 50)
        hosts.kill(GROUP, PAIR[1])
        seconds = wait("a class on the other", lambda: pair.own("failure.json"), 200)
        kind = pair.own("failure.json").get("kind")
        time.sleep(15)
        hosts.start(GROUP, PAIR[1])
        return row(pair, "a node loses power and comes back", kind, seconds, limit=90)


FAULTS = (
    killed_rank,
    stopped_rank,
    rebooted,
    full_disk,
    full_journal,
    rotated_log,
    jumped_clock,
    cut_network,
    lost_node,
)


def row(training: Training, fault: str, kind: object, seconds: float, limit: float) -> Row:
    """What came of it, once the run has ended."""
    ended_whole(training)
    starts = resumed(training)
    steps = [int(step) for step in re.findall(r"\(step=(\d+)\)", training.log())]
    again = len(steps) - len(set(steps))
    return {
        "fault": fault,
        "class": kind,
        "seconds": round(seconds, 1),
        "resumed from": ", ".join(starts) or "-",
        "lines of steps made twice": again,
        "held": seconds <= limit and max(steps) == STEPS,
    }


def run(points: int, say: Say) -> list[Row]:
    depot = fleet.ensure_depot()
    addresses = hosts.up(GROUP, [LONE, *PAIR])
    for folder, members in {"lone": [LONE], "pair": PAIR}.items():
        bench.inventory(GROUP, GROUP.state / folder, {name: addresses[name] for name in members}, depot, light=False)
    rows: list[Row] = []
    for fault in FAULTS[:points]:
        try:
            told = fault()
        except RuntimeError as error:
            told = {"fault": fault.__name__, "held": False, "class": "-", "told": str(error)}
        say("  ".join(f"{key}: {value}" for key, value in told.items()))
        rows.append(told)
    hosts.down(GROUP)
    return rows


def summary(rows: Sequence[Row]) -> str:
    whole = sum(bool(row["held"]) for row in rows)
    return f"{len(rows)} faults under real trainings: {whole} ended whole within their limits"
