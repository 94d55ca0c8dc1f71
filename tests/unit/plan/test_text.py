"""The plan as text: the fit table, one line a host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import RolePlan
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import Finding, finding
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.assess import assess
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.judge import Node
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.memory import Run
from ansible_collections.canvas.fleet.plugins.module_utils.plan import text as report
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import HostPlan, Plan
from ansible_collections.canvas.fleet.plugins.module_utils.plan.skipped import Skipped
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
    row = dict(zip(report.FIT_HEAD, report.fit_row(host(Run(BAGEL, 8), None)), strict=True))
    assert row["nearest that fits"] == "not judged"


def test_the_table_stands_in_the_plan_once_with_a_line_for_the_hosts_that_are_alike() -> None:
    good, small = Node(8, 143771 * MIB, 2e12, "H200"), Node(8, 40960 * MIB, 2e12, "A100")
    ready = {"weights": RolePlan()}
    hosts = {f"n{n}": replace(host(Run(BAGEL, 8), small if n == 3 else good, f"n{n}"), roles=ready) for n in (1, 2, 3)}
    lines = report.plan_text(Plan({**hosts, "n4": host(Run(BAGEL, 8), None, "n4")})).splitlines()
    head = next(number for number, line in enumerate(lines) if line.split()[:1] == ["fit"])
    names = [line.split()[0] for line in lines[head + 1 :] if line.startswith("  n")]
    assert names == ["n[1-2]", "n3"], "nothing of a host that was not judged"


@pytest.mark.parametrize(("small", "cell"), [("lora", "✓ streamed"), ("frozen", "✓")])
def test_adapters_that_fit_only_streamed_are_marked_so(small: str, cell: str) -> None:
    """Whatever the other profiles do."""
    wide = assess(Run(BAGEL, 1), Node(1, 143771 * MIB, 2e12, "H200")).profiles
    narrow = assess(Run(BAGEL, 1), Node(1, 24564 * MIB, 2e12, "4090")).profiles
    assert report.marks({**wide, small: narrow[small]})[1] == cell


def test_the_reason_of_a_skipped_check_goes_on_below_itself() -> None:
    passed = Skipped("DISK_SHORT", " ".join(["words"] * 30))
    first, *more = report.skipped_lines(Plan({"a": replace(host(Run(BAGEL, 1), None, "a"), skipped=(passed,))}), 60)
    assert first.startswith("skipped  DISK_SHORT: words")
    assert more
    assert {len(line) - len(line.lstrip()) for line in more} == {len("skipped  ")}


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
    place = Topology("pair", ("b",), 0, 1, 4, "localhost", 29501)
    lost = HostPlan("b", place, {}, (), "HOST_UNREACHABLE on b", state="no answer")
    made = Plan({"a": HostPlan("a", SHAPE, {"weights": RolePlan()}, (), ""), "b": lost})
    assert "1 host, 1 run" not in report.summary_lines(made)[0]
    assert "2 hosts, 2 runs: 0 to change (0 roles), 1 in sync, 1 not judged; " in report.summary_lines(made)[0]
    lines = report.plan_text(made).splitlines()
    assert "run pair (b): 1 host, no answer: not judged" in lines
    assert (
        "run r (a): 1 host × 8 processes = world size 8 (1 × 8 shards), 4 workers each, 32 row groups, master" in lines
    )


def run(name: str, number: int, **roles: RolePlan) -> dict[str, HostPlan]:
    names = tuple(f"{name}{n}" for n in range(number))
    place = {host: Topology(name if number > 1 else host, names, 0, 8, 4, "m", 29501) for host in names}
    return {host: HostPlan(host, place[host], roles, (), "") for host in names}


def test_a_role_stands_once_for_all_hosts_of_a_run_that_need_the_same() -> None:
    hosts = run("n", 50, nvidia=RolePlan(), weights=RolePlan(("no files",)))
    hosts["n7"] = replace(hosts["n7"], roles={"nvidia": RolePlan(("no driver",)), "weights": RolePlan(("no files",))})
    hosts["n9"] = replace(hosts["n9"], roles={}, state="no answer")
    assert report.plan_text(Plan(hosts), 79).splitlines()[2:7] == [
        "  no answer: n9",
        "  nvidia   in sync      n[0-6,8,10-49]",
        "  nvidia   will change  n7              no driver",
        "  weights  will change                  no files",
        "",
    ]


def test_runs_of_one_host_that_are_alike_are_shown_once() -> None:
    alone = [run(f"n{n}-", 1, weights=RolePlan()) for n in range(3)]
    other = run("m", 1, weights=RolePlan(("no files",)))
    lines = report.plan_text(Plan({**alone[0], **other, **alone[1], **alone[2]}), 79).splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith(("run", "3"))] == [
        "3 runs (n[0-2]-0)",
        "run m0",
    ]
    pairs = Plan({**run("a", 2, weights=RolePlan()), **run("b", 2, weights=RolePlan())})
    assert len([line for line in report.plan_text(pairs).splitlines() if line.startswith("run ")]) == 2


@pytest.mark.parametrize("width", [79, 100, 119])
def test_no_line_is_wider_than_the_page(width: int) -> None:
    long = tuple(f"reason {n} of many words that go on" for n in range(20))
    node = Node(8, 40960 * MIB, 1e12, "A100")
    hosts = {
        name: replace(one, fit=assess(Run(BAGEL, 8, lean=False), node), findings=(error("x" * 30 + " y" * 90, name),))
        for name, one in run("machine-with-a-long-name-", 9, weights=RolePlan(long)).items()
    }
    assert max(map(len, report.plan_text(Plan(hosts), width).splitlines())) <= width


def error(found: str, name: str, code: str = "NO_GPU") -> Finding:
    return finding(code, host=name, found=found, expected="y")


def test_the_last_line_says_what_is_refused_and_why() -> None:
    hosts = run("n", 2)
    hosts["n0"] = replace(hosts["n0"], findings=(error("x", "n0"), error("x", "n0", "NO_SYSTEMD")), refusal="NO_GPU")
    last = report.plan_text(Plan(hosts)).splitlines()[-1]
    assert last == "refused: n, because of NO_GPU, NO_SYSTEMD (nothing is changed on their hosts)"
    assert "refused" not in report.plan_text(Plan(run("n", 2)))
