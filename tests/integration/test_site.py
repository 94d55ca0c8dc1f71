"""The whole chain through ansible-runner: three bare hosts become two finished trainings, losses on the way included.

One host trains the whole model, two hosts train adapters. The tests build on each other, in this order, on one fleet of
their own (state in .demo/chain).
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner
import pytest
import yaml

from demo import fleet, hosts
from demo.minicanvas import tiny_model
from demo.podman import CHECKOUT, STATE
from demo.steps import ESCAPES
from demo.surroundings import enter
from tests.integration.minicanvas_run import STEP, wait_for

CHAIN = hosts.Group(STATE / "chain", "chain")
RATE = fleet.CONTENT / "rate"
ROOT = "/srv/blockmoving"
REPORTS = CHECKOUT / "reports" / "chain"
ADAPTERS = {  # of the run on two hosts
    "training_profile": "lora",
    "training_lora_rank": 8,
    "training_lora_alpha": 16,
    "run_config_optimizer": "adamw_fused",
    "run_config_lr": 0.01,
    "run_config_ema": 0,
    # The stand-in is not upstream's code, and has fewer layers than BAGEL.
    "preflight_accepted_findings": ["UPSTREAM_UNKNOWN", "ADAPTERS_UNEXPECTED"],
}
SAVED = ["adapter.safetensors", "data_status.pt", "optimizer.00000-of-00001.pt", "scheduler.pt"]


@dataclass
class Play:
    """Events of a playbook run, and their sums."""

    code: int
    seconds: float
    stdout: str
    stats: dict[str, dict[str, int]]
    events: list[dict[str, Any]] = field(repr=False)

    def changed(self) -> dict[str, int]:
        return {host: number for host, number in self.stats.get("changed", {}).items() if number}

    def failures(self, host: str) -> str:
        told = ("runner_on_failed", "runner_on_unreachable")
        return " ".join(
            str(event["event_data"]["res"].get("msg"))
            for event in self.events
            if event["event"] in told and event["event_data"]["host"] == host
        )

    def tasks_on(self, host: str) -> list[str]:
        """Tasks that opened a connection to the host or ran for it; skipped ones are not among them."""
        return [
            event["event_data"]["task"]
            for event in self.events
            if event["event"] == "runner_on_ok" and event["event_data"]["host"] == host
        ]


@dataclass
class Fleet:
    addresses: dict[str, str]
    inventory: Path

    def play(
        self, playbook: str, *options: str, on_event: Callable[[dict[str, Any]], None] | None = None, **variables: Any
    ) -> Play:
        begin = time.monotonic()
        told: list[dict[str, Any]] = []

        def keep(event: dict[str, Any]) -> bool:
            told.append(event)
            if on_event:
                on_event(event)
            return False  # kept here, so the runner need not write it to a file

        shutil.rmtree(REPORTS / "env", ignore_errors=True)  # the runner adds what the run before was given
        runner = ansible_runner.run(
            private_data_dir=str(REPORTS),
            project_dir=str(CHECKOUT),
            playbook=playbook,
            inventory=str(self.inventory),
            extravars=variables or None,
            cmdline=" ".join(options) or None,
            event_handler=keep,
            envvars={"ANSIBLE_HOST_KEY_CHECKING": "True"},  # the runner's own default is to check no key
            quiet=True,
            ident=f"{Path(playbook).stem}-{time.time():.0f}",
        )
        stats = [event["event_data"] for event in told if event["event"] == "playbook_on_stats"]
        return Play(runner.rc, time.monotonic() - begin, runner.stdout.read(), stats[-1] if stats else {}, told)

    def ask(self, host: str, command: str) -> str:
        """What a command says on the host, through ssh and sudo as an admin would."""
        done = subprocess.run(
            CHAIN.ssh(self.addresses[host], "sudo", "sh", "-c", f"'{command}'"),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()


@pytest.fixture(scope="module")
def chain() -> Iterator[Fleet]:
    enter()
    os.environ.setdefault("ANSIBLE_CONFIG", str(CHECKOUT / "ansible.cfg"))
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    hosts.down(CHAIN)
    RATE.unlink(missing_ok=True)
    depot = fleet.ensure_depot()
    addresses = hosts.up(CHAIN, fleet.NAMES)
    inventory = CHAIN.state / "inventory"
    shutil.copytree(fleet.INVENTORY, inventory, ignore=shutil.ignore_patterns("generated.yml"))
    fleet.write_generated(inventory, CHAIN, depot)
    (inventory / "group_vars/bolt.yml").write_text(yaml.safe_dump(ADAPTERS))
    yield Fleet(addresses, inventory)
    RATE.unlink(missing_ok=True)
    hosts.down(CHAIN)


def test_a_dry_run_on_bare_hosts_works_and_leaves_them_bare(chain: Fleet) -> None:
    play = chain.play("site.yml", "--check", "--diff")
    assert play.code == 0, play.stdout[-3000:]
    assert set(play.changed()) == set(fleet.NAMES), play.stdout[-6000:]
    assert {
        chain.ask(host, f"ls -d {ROOT} /var/lib/canvas-fleet 2>/dev/null; getent passwd blockmoving")
        for host in fleet.NAMES
    } == {""}


BAD = [  # variables, and the words of each finding by its code
    pytest.param(
        {"run_config_total_step": 9, "run_config_lr": "fast"},
        {"VARIABLE_UNKNOWN": "run_config_total_steps", "VARIABLE_INVALID": "run_config_lr"},
        id="before a host is asked",
    ),
    pytest.param(
        {
            "run_config_resume_model_only": False,
            "run_config_save_every": 100,
            "weights_bytes": 10**14,
            "weights_dir": "/var/lib/dpkg/status",
            "nvidia_gpu_expected": True,
        },
        {
            "WEIGHTS_NOT_ASKED": "resume_from",
            "NO_SAVE_AT_ALL": "save_every",
            "DISK_SHORT": "weights 100.0 TB",
            "PATH_IS_A_FILE": "dpkg/status",
            "NO_GPU": "nvidia_gpu_expected",
        },
        id="by what is on the hosts",
    ),
]


@pytest.mark.parametrize(("variables", "words"), BAD)
def test_all_that_is_bad_is_refused_at_once_before_anything_is_changed(
    chain: Fleet, variables: dict[str, Any], words: dict[str, str]
) -> None:
    play = chain.play("site.yml", **variables)
    assert play.code != 0
    assert play.changed() == {}
    blocks = re.split(r"^(?=error |warning |note )", ESCAPES.sub("", play.stdout), flags=re.MULTILINE)
    for code, word in words.items():
        found = [block for block in blocks if block.split()[:2] == ["error", code]]
        assert any(word in block and "remedy" in block for block in found), (code, play.stdout)


def test_hosts_of_a_run_that_disagree_are_refused_and_the_other_run_is_not(chain: Fleet) -> None:
    odd = "{{ 2 if inventory_hostname == 'bolt0' else 1 }}"
    play = chain.play("playbooks/preflight.yml", run_config_processes=odd)
    assert "RUN_DISAGREES" in play.failures("bolt0")
    assert "RUN_DISAGREES" in play.failures("bolt1")
    assert play.failures("atlas") == ""


def test_a_changed_host_key_is_refused_and_the_other_run_is_not(chain: Fleet) -> None:
    known = CHAIN.known_hosts.read_text()
    lines = [line.split() for line in known.splitlines()]
    atlas = next(line for line in lines if chain.addresses["atlas"] in line[0])
    other = next(line for line in lines if chain.addresses["bolt0"] in line[0])
    try:
        CHAIN.known_hosts.write_text(known.replace(atlas[2], other[2]))
        # A connection that is still open from the play before would not ask for the key again.
        play = chain.play("playbooks/preflight.yml", "--ssh-extra-args='-o ControlPath=none'")
    finally:
        CHAIN.known_hosts.write_text(known)
    assert "HOST_KEY_CHANGED" in play.stdout
    assert "refused" in play.failures("atlas")
    assert play.failures("bolt0") == play.failures("bolt1") == ""


def test_a_host_that_is_lost_while_weights_load_stops_its_run_alone(chain: Fleet) -> None:
    def cut(event: dict[str, Any]) -> None:
        begins = event["event"] == "playbook_on_task_start" and "model" in event["event_data"]["task"]
        if begins and event["event_data"].get("role", "").endswith("weights") and not RATE.exists():
            RATE.write_text("30000")  # bytes per second and connection: the download would take half a minute
            threading.Timer(4, hosts.cut, (CHAIN, "bolt1")).start()
            threading.Timer(6, RATE.unlink).start()

    try:
        play = chain.play("site.yml", on_event=cut, fleet_reconnect_timeout=8)
    finally:
        hosts.mend(CHAIN, "bolt1")
    assert play.code != 0
    assert "no connection to the host for 8 s" in play.failures("bolt1"), play.stdout[-4000:]
    assert "the next converge attaches" in play.failures("bolt1")
    assert "HOST_MISSING on bolt1" in play.failures("bolt0"), "its run is not started with a smaller world"
    assert play.failures("atlas") == ""
    assert chain.ask("atlas", "systemctl is-active canvas-training-atlas") in ("active", "inactive")
    assert chain.ask("bolt0", "systemctl is-active canvas-training-bolt") != "active"


def test_a_second_run_mends_it_and_a_person_restarts_it(chain: Fleet) -> None:
    def restart(event: dict[str, Any]) -> None:
        """After the first step, so that the save is still to come that a stop waits for."""
        if event["event"] == "playbook_on_play_start" and event["event_data"]["play"] == "Look at the trainings":
            for host in ("bolt0", "bolt1"):
                chain.ask(host, "systemctl restart --no-block canvas-training-bolt")

    play = chain.play("site.yml", on_event=restart)
    assert play.code == 0, play.stdout[-4000:]
    assert "atlas" not in play.changed(), "the run that was whole is left alone"


def test_both_trainings_end_whole(chain: Fleet) -> None:
    play = chain.play("playbooks/status.yml", training_follow=True)
    assert play.code == 0, play.stdout[-4000:]
    (table,) = [
        event for event in play.events if event["event"] == "runner_on_ok" and "rows" in event["event_data"]["res"]
    ]
    rows = {row["host"]: row for row in table["event_data"]["res"]["rows"]}
    for host in ("atlas", "bolt0"):
        losses = rows[host]["losses"]
        assert (rows[host]["state"], rows[host]["step"], rows[host]["newest_whole"]) == ("finished", 60, 60)
        assert rows[host]["weights"] == "loaded"
        log = chain.ask(host, f"cat {ROOT}/outputs/{host.rstrip('0')}/log.txt")
        first = next(iter(STEP.findall(log)))  # of all starts, of which the table has the last one
        assert first[0] == "0000000"
        assert losses["ce"]["last"] < float(first[1]) * 0.75
        assert losses["mse"]["last"] < float(first[2])
    assert rows["bolt1"]["state"] == "finished"
    told = " ".join(play.stdout.split())
    assert f"the model: {ROOT}/outputs/atlas/checkpoints/0000060/ema.safetensors" in told
    assert "playbooks/fetch.yml --limit atlas" in told


def test_the_model_comes_home_with_its_losses(chain: Fleet, tmp_path: Path) -> None:
    play = chain.play("playbooks/fetch.yml", "--limit", "atlas", training_fetch_dir=str(tmp_path))
    assert play.code == 0, play.stdout[-4000:]
    folder = tmp_path / "atlas/0000060"
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert checked.stdout == "ema.safetensors: OK\n", checked.stderr
    sealed = json.loads(chain.ask("atlas", f"cat {ROOT}/outputs/atlas/kept/0000060.json"))
    assert sealed["files"]["ema.safetensors"]["sha256"] in (folder / "SHA256SUMS").read_text()
    with (tmp_path / "atlas/losses.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [int(row["step"]) for row in rows] == sorted({int(row["step"]) for row in rows})
    assert float(rows[-1]["ce"]) < float(rows[0]["ce"])
    assert "\x1b" not in (tmp_path / "atlas/log.plain.txt").read_text()


def test_adapters_are_sealed_and_went_to_the_other_node(chain: Fleet) -> None:
    out = f"{ROOT}/outputs/bolt"
    starts = re.findall(r"starting at (\d+)\.\.\.", chain.ask("bolt0", f"cat {out}/log.txt"))
    assert starts in (["0", "21"], ["0", "41"])
    step = int(starts[1]) - 1
    journal = chain.ask("bolt1", "journalctl -u canvas-training-bolt")
    assert f"fetches checkpoint {step}: 4 of 4 files" in journal
    assert f"resumes from step {step}" in journal
    copies = [chain.ask(host, f"sha256sum {out}/checkpoints/{step:07d}/{SAVED[0]}") for host in ("bolt0", "bolt1")]
    assert copies[0] == copies[1] != ""
    assert chain.ask("bolt0", f"ls {out}/checkpoints/0000060").split() == SAVED
    assert sorted(json.loads(chain.ask("bolt0", f"cat {out}/kept/0000060.json"))["files"]) == SAVED


def test_adapters_come_home_as_a_whole_model_that_nobody_asked_for(chain: Fleet, tmp_path: Path) -> None:
    merged = f"{ROOT}/outputs/bolt/models/0000060"
    wait_for(lambda: chain.ask("bolt0", f"ls {merged}/MERGED.json") != "")
    play = chain.play("playbooks/fetch.yml", "--limit", "bolt", training_fetch_dir=str(tmp_path))
    assert play.code == 0, play.stdout[-4000:]
    tiny_model.write_model(tmp_path / "base")
    folder = tmp_path / "bolt/models/0000060"
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted([*(path.name for path in (tmp_path / "base").iterdir()), "MERGED.json", "SHA256SUMS"])
    model, base = ((place / "ema.safetensors").read_bytes() for place in (folder, tmp_path / "base"))
    header = 8 + int.from_bytes(base[:8], "little")  # keys, their order, shapes and types
    assert (model[:header], len(model)) == (base[:header], len(base))
    assert model[header:] != base[header:]
    record = json.loads((folder / "MERGED.json").read_text())
    assert (record["step"], record["rank"], record["alpha"]) == (60, 8, 16)


def test_the_logs_of_all_hosts_come_in_one_stream(chain: Fleet) -> None:
    play = chain.play("playbooks/logs.yml", training_logs_lines=5)
    assert play.code == 0, play.stdout[-4000:]
    told = " ".join(play.stdout.split())
    assert "atlas log" in told
    assert "bolt0 log" in told
    assert "bolt1 journal" in told
    assert "Done!" in told


@pytest.mark.parametrize(("host", "run"), [("atlas", "atlas"), ("bolt0", "bolt")])
def test_the_log_proves_that_the_weights_were_loaded(chain: Fleet, host: str, run: str) -> None:
    log = chain.ask(host, f"cat {ROOT}/outputs/{run}/log.txt")
    assert f"Loading checkpoint from {ROOT}/models/BAGEL-7B-MoT." in log
    assert "Training from scratch." not in log
    assert "Saving checkpoint at step 60" in log
    assert "Reached total_steps (60), stopping training." in log


def test_a_converged_fleet_is_left_alone_and_costs_one_call_per_host(chain: Fleet) -> None:
    play = chain.play("site.yml")
    assert play.code == 0, play.stdout[-4000:]
    assert play.changed() == {}
    assert "0 to change" in play.stdout
    assert [task for task in play.tasks_on("bolt1") if task in ("Observe", "Look at the training")] == ["Observe"]
    (REPORTS / "converged_seconds.txt").write_text(f"{play.seconds:.1f}\n")


def test_a_dry_run_on_a_converged_fleet_finds_nothing_to_do_and_says_so_to_programs(
    chain: Fleet, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    play = chain.play("site.yml", "--check", "--diff", fleet_plan_format="json", fleet_plan_file=str(path))
    assert (play.code, play.changed()) == (0, {})
    assert str(path) in play.stdout
    made = json.loads(path.read_text())
    assert made["runs"] == {"atlas": ["atlas"], "bolt": ["bolt0", "bolt1"]}
    assert made["hosts"]["bolt1"]["topology"]["node_rank"] == 1
    assert made["changes"] == {"atlas": [], "bolt0": [], "bolt1": []}


def test_what_a_person_edited_is_found_and_kept(chain: Fleet) -> None:
    script = f"{ROOT}/BlockMovingSFT/scripts/train_blockmoving.sh"
    chain.ask("atlas", f'echo "# my own note" >> {script}')
    chain.ask("atlas", f'echo "# mine too" >> {ROOT}/MathCanvas/BAGEL-Canvas/train/pretrain_unified_navit.py')
    play = chain.play("site.yml", "--limit", "atlas")
    assert play.code == 0, play.stdout[-4000:]
    assert "CODE_LOCAL_EDITS" in play.stdout
    assert "# my own note" in chain.ask("atlas", f"cat {script}.user-*")
    assert "# mine too" in chain.ask("atlas", f"cat {ROOT}/MathCanvas/BAGEL-Canvas/train/pretrain_unified_navit.py")


def test_a_teardown_leaves_what_is_dear_and_what_a_person_made(chain: Fleet) -> None:
    play = chain.play("playbooks/teardown.yml")
    assert play.code == 0, play.stdout[-4000:]
    for host, run in (("atlas", "atlas"), ("bolt0", "bolt"), ("bolt1", "bolt")):
        assert chain.ask(host, f"systemctl cat canvas-training-{run}") == ""
        assert chain.ask(host, f"ls {ROOT}/outputs/{run}/checkpoints").split()[-1] == "0000060"
        assert chain.ask(host, f"ls -d {ROOT}/miniforge3 {ROOT}/BlockMovingSFT/train /var/lib/canvas-fleet/agent") == ""
    assert chain.ask("bolt0", f"ls {ROOT}/models/BAGEL-7B-MoT").split()
    assert chain.ask("bolt0", f"ls {ROOT}/MathCanvas") == ""
    assert "# mine too" in chain.ask("atlas", f"cat {ROOT}/MathCanvas/BAGEL-Canvas/train/pretrain_unified_navit.py")
    assert "fleet_teardown_include: edits" in play.stdout
    assert chain.play("playbooks/teardown.yml").changed() == {}


def test_a_teardown_that_names_all_leaves_a_bare_host(chain: Fleet) -> None:
    words = ["checkpoints", "data", "edits", "weights"]
    play = chain.play("playbooks/teardown.yml", fleet_teardown_include=words)
    assert play.code == 0, play.stdout[-4000:]
    for host in ("bolt0", "bolt1"):
        assert chain.ask(host, f"ls -d {ROOT} /var/lib/canvas-fleet; id -u blockmoving") == ""
    # What a person edited stays, and with it the account that could own it.
    left = chain.ask("atlas", f"find {ROOT} -path {ROOT}/home -prune -o -type f -print").split()
    assert [name.partition(".user-")[0] for name in left] == [f"{ROOT}/BlockMovingSFT/scripts/train_blockmoving.sh"]
    assert chain.play("playbooks/teardown.yml", fleet_teardown_include=words).changed() == {}
