"""The plan as text: the fit table, one line a host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import RolePlan
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import finding
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.assess import assess
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.judge import Node
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.memory import Run
from ansible_collections.canvas.fleet.plugins.module_utils.plan import text as report
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import HostPlan, Plan
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import BAGEL, model_of

MIB, GB = 2**20, 1e9
SHAPE = Topology("r", ("h",), 0, 8, 4, "localhost", 29501)


def host(run: Run, node: Node | None, name: str = "h") -> HostPlan:
    return HostPlan(name, SHAPE, {}, (), "", assess(run, node) if node else None)


@pytest.mark.parametrize(
    ("run", "node", "cells"),
    [
        pytest.param(
            Run(BAGEL, 8),
            Node(8, 143771 * MIB, 2e12, "H200"),
            ("56.8 of 150.8 GB", "65.6 GB of 2.0 TB", "✓", "✓", "as it is"),
            id="a large host",
        ),
        pytest.param(
            Run(BAGEL, 8, lean=False),
            Node(8, 40960 * MIB, 1e12, "A100"),
            (
                "56.8 of 42.9 GB",
                "1.2 of 1.0 TB",
                "✗ 13.8 GB GPU, 240.6 GB host",
                "✓",
                "canvas_code_lean: true, run_config_ema: 0, run_config_optimizer: adamw_8bit; or 16 × A100",
            ),
            id="too little of both",
        ),
        pytest.param(
            Run(BAGEL, 2, lean=False),
            Node(2, 143771 * MIB, 280e9, "H200"),
            (
                "176.9 of 150.8 GB",
                "310.1 of 280.0 GB",
                "✗ 26.1 GB GPU",
                "✓",
                "canvas_code_lean: true, run_config_ema: 0, run_config_optimizer: adamw_fused; or 3 × H200",
            ),
            id="a host that is tight, and two GPUs too few",
        ),
        pytest.param(
            Run(model_of(400_000, None), 2, gpu=False),
            Node(0, 0, 24e9),
            ("none expected", "1.0 of 24.0 GB", "✓", "✓", "as it is"),
            id="the demo: a tiny model and no GPU",
        ),
        pytest.param(
            Run(BAGEL, 1),
            Node(0, 0, 512e9),
            ("none seen", "37.6 of 512.0 GB", "✓", "✓", "as it is"),
            id="a GPU whose driver is not there yet",
        ),
    ],
)
def test_a_host_is_one_line(run: Run, node: Node, cells: tuple[str, ...]) -> None:
    row = dict(zip(report.FIT_HEAD, report.fit_row(host(run, node)), strict=True))
    shown = [row[name] for name in ("GPU memory", "host memory", "full", "frozen", "nearest that fits")]
    assert shown[:4] == list(cells[:4])
    assert shown[4].startswith(cells[4])


def test_a_host_that_was_not_observed_keeps_its_line() -> None:
    assert report.fit_row(host(Run(BAGEL, 8), None))[-1] == "not judged"


def test_the_table_stands_in_the_plan_once_with_a_line_for_each_host() -> None:
    hosts = {name: host(Run(BAGEL, 8), Node(8, 143771 * MIB, 2e12, "H200"), name) for name in ("a", "b")}
    lines = report.plan_text(Plan(hosts)).splitlines()
    head = next(number for number, line in enumerate(lines) if line.split()[:1] == ["fit"])
    assert [line.split()[0] for line in lines[head + 1 : head + 3]] == ["a", "b"]
    assert not lines[head + 3]


def test_programs_get_every_item_in_bytes() -> None:
    fit: Any = host(Run(BAGEL, 8), Node(8, 40960 * MIB, 1e12, "A100")).as_dict()["fit"]
    assert list(fit["phases"]["gpu"]) == ["load", "first step", "optimizer.step", "pictures", "training", "save"]
    assert fit["gpu"]["phase"] == "optimizer.step", "the first phase that is too large"
    assert max(sum(items.values()) for items in fit["phases"]["gpu"].values()) == pytest.approx(fit["gpu"]["need"])
    assert fit["profiles"]["full"]["fits"] is False
    assert fit["profiles"]["full"]["gpu_missing"] == pytest.approx(56.8 * GB - 40960 * MIB, rel=0.01)
    assert fit["nearest_setting"]["settings"] == {"run_config_ema": 0, "run_config_optimizer": "adamw_8bit"}
    assert fit["nearest_hardware"]["gpus"] == 16


def test_a_host_that_was_not_judged_is_neither_in_sync_nor_of_any_shape() -> None:
    lost = HostPlan("b", Topology("pair", ("b",), 0, 1, 4, "localhost", 29501), {}, (), "HOST_UNREACHABLE on b")
    made = Plan({"a": HostPlan("a", SHAPE, {"weights": RolePlan()}, (), ""), "b": lost})
    assert "1 host, 1 run" not in report.summary_line(made)
    assert "2 hosts, 2 runs: 0 to change (0 roles), 1 in sync, 1 not judged; " in report.summary_line(made)
    assert "run pair: 1 host, not judged" in report.plan_text(made).splitlines()
    assert "world size" in report.run_line([made.hosts["a"]])


def test_the_findings_of_some_codes_alone() -> None:
    found = tuple(finding(code, found="x", expected="y") for code in ("SSH_TIMEOUT", "NO_GPU"))
    made = Plan({"h": HostPlan("h", SHAPE, {}, found, "")})
    assert [line.split()[1] for line in report.findings_of(made) if line.startswith("error")] == [
        "SSH_TIMEOUT",
        "NO_GPU",
    ]
    assert report.findings_of(made, {"NO_GPU"})[0].split()[:2] == ["error", "NO_GPU"]
    assert report.findings_of(made, ()) == []
