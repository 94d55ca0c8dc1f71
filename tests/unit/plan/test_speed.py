"""A plan of fifty hosts takes no time to speak of, with the search for what fits on each of them."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import RolePlan
from ansible_collections.canvas.fleet.plugins.module_utils.plan import make as plan
from ansible_collections.canvas.fleet.plugins.module_utils.plan import text as report

HOSTS, BUDGET = 50, 2.0  # seconds of the controller
MIB = 2**20
CARDS = [24564, 40960, 46068, 143771, 32607]


def seen(number: int) -> dict[str, Any]:
    disk = {"at": "/srv", "device": 1, "free": 300e9, "total": 9e12}
    return {
        "facts": {
            "init": {"name": "systemd"},
            "python": "3.11.2",
            "memory_bytes": 512e9,
            "checkpoints_bytes": 0,
            "disks": {"weights_dir": disk, "training_checkpoint_dir": disk},
        },
        "roles": {
            "nvidia": {"gpus": [{"name": "GPU", "memory_bytes": CARDS[number % 5] * MIB}] * 8},
            "weights": {"bytes": 0},
        },
    }


def host(number: int) -> plan.HostSeen:
    settings = {
        "run_config_processes": 0,
        "run_config_num_workers": 4,
        "run_config_master_port": 29501,
        "run_config_total_steps": 1530,
        "run_config_save_every": 10,
        "run_config_del_previous_state": True,
        "run_config_cpu_offload": False,
        "fleet_address": f"10.0.0.{number}",
        "weights_parameters": 14_607_260_128,
        "weights_bytes": 29_560_000_000,
        "nvidia_gpu_expected": True,
        "preflight_accepted_findings": [],
    }
    return plan.HostSeen(f"gpu-{number:02}", f"run-{number // 2}", settings, seen(number))


def test_fifty_hosts_are_planned_and_shown_in_under_two_seconds() -> None:
    hosts = [host(number) for number in range(HOSTS)]
    started = time.process_time()
    made = plan.make_plan(hosts, {"weights": lambda *_: RolePlan(reasons=("no files",))})
    text = report.plan_text(made)
    taken = time.process_time() - started
    assert text.count("GPU_MEMORY_SHORT") >= HOSTS / 2, "the searches have to run for the time to mean something"
    assert taken < BUDGET, f"{taken:.2f} s"
