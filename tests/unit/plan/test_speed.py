"""A plan of fifty hosts takes no time to speak of, with the search for what fits on each of them."""

from __future__ import annotations

import time

from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import RolePlan
from ansible_collections.canvas.fleet.plugins.module_utils.machine.facts import Facts, FileSystem, Init
from ansible_collections.canvas.fleet.plugins.module_utils.machine.gpu import Gpu
from ansible_collections.canvas.fleet.plugins.module_utils.plan import make as plan
from ansible_collections.canvas.fleet.plugins.module_utils.plan import text as report
from ansible_collections.canvas.fleet.plugins.module_utils.plan.observation import Observation
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import observe as nvidia

from tests.fuzz import fleet
from tests.unit.support.observed import bare

HOSTS, BUDGET = 50, 2.0  # seconds of the controller
MIB = 2**20
DEFAULTS = fleet.settings(fleet.Host("gpu"))[0]
CARDS = [24564, 40960, 46068, 143771, 32607]


def seen(number: int) -> Observation:
    disk = FileSystem("/srv", 1, 300 * 10**9, 9 * 10**12)
    facts = Facts("3.11.2", 512 * 10**9, Init("systemd"), {"weights_dir": disk, "training_checkpoint_dir": disk})
    cards = tuple(Gpu(place, "GPU", CARDS[number % 5] * MIB) for place in range(8))
    return bare(facts, nvidia=nvidia.Observation("works", "", gpus=cards))


def host(number: int) -> plan.HostSeen:
    settings = {**DEFAULTS, "fleet_address": f"10.0.0.{number}", "run_config_save_every": 10}
    return plan.HostSeen(f"gpu-{number:02}", f"run-{number // 2}", settings, seen(number))


def test_fifty_hosts_are_planned_and_shown_in_under_two_seconds() -> None:
    hosts = [host(number) for number in range(HOSTS)]
    started = time.process_time()
    made = plan.make_plan(hosts, {"weights": lambda *_: RolePlan(reasons=("no files",))})
    text = report.plan_text(made)
    taken = time.process_time() - started
    assert len(text.splitlines()) < 4 * HOSTS, "what holds for many is shown once"
    short = sum(found.code == "GPU_MEMORY_SHORT" for found in made.findings)
    assert short >= HOSTS / 2, "the searches have to run for the time to mean something"
    assert taken < BUDGET, f"{taken:.2f} s"
