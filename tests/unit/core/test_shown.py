"""No control character comes out of any printer, whatever a host, a log or an inventory says."""

from __future__ import annotations

import ast
import random
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import repeat
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.action import (
    checkpoint_fetch,
    host_info,
    host_work,
    new_inventory,
    teardown,
    training_logs,
)
from ansible_collections.canvas.fleet.plugins.action import plan as plan_action
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.offer import File, Offer
from ansible_collections.canvas.fleet.plugins.module_utils.core import progress, shown, table
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Step
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import RolePlan
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import Finding
from ansible_collections.canvas.fleet.plugins.module_utils.plan import findings_text
from ansible_collections.canvas.fleet.plugins.module_utils.plan import text as plan_text
from ansible_collections.canvas.fleet.plugins.module_utils.plan.data import plan_data
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import HostPlan, Plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import table as trainings
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.logs import News
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.observe import Supervised
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.report import Report
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor.sd_notify import Notifier
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.failures import Failure
from ansible_collections.canvas.fleet.plugins.module_utils.work.polled import Polled
from ansible_collections.canvas.fleet.plugins.plugin_utils import page, role_action
from ansible_collections.canvas.fleet.plugins.plugin_utils.servers import HostKey, Server

from tests.unit.support import actions
from tests.unit.support.places import ROOT

NAMES = 5_000
ODD = ("Cc", "Cf", "Cs", "Zl", "Zp")
FAKE = "fatal: [atlas]"  # a line that no host may write
PIECES = [
    *map(chr, (*range(0x20), 0x7F, *range(0x80, 0xA0))),
    *("\x1b[2J", "\x1b]0;title\x07", "\x1b]52;c;ZXZpbA==\x07", "\x9b31m", "\x9d52;c;eA==\x9c", "\x1bP+q\x1b\\", "\r\n"),
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0x200B, 0x2010), 0x2028, 0x2029, 0xFEFF, 0xAD)),
    *map(chr, (0x61C, 0x180E, 0x2060, 0xFFF9, 0xE0001, 0xE0041, 0x1D173, 0x3164, 0x34F, 0xFE0F)),
    *map(chr, (0xD800, 0xDC80, 0xDCFF, 0xDFFF)),
    f"\n{FAKE}",
]  # fmt: skip
LETTERS = ["a", "model", "é", "实验", " ", "/", "%s", "{}", "<b>", "0"]


def hostile(seed: int = 13) -> Iterator[str]:
    """Names without end: what is dangerous, alone, between letters and one behind the other."""
    chance = random.Random(seed)  # noqa: S311 - the same names each time
    while True:
        yield "".join(
            chance.choice((PIECES, PIECES, LETTERS)[chance.randrange(3)]) for _ in range(chance.randint(1, 6))
        )


def dangerous(text: str) -> list[str]:
    """Characters that a terminal or a page would obey or not draw; a newline is judged by what it begins."""
    found = [one for one in text if one != "\n" and unicodedata.category(one) in ODD]
    return found + [line for line in text.splitlines() if line.startswith(FAKE)]


def finding(names: Iterator[str]) -> Finding:
    return Finding("HOST_UNREACHABLE", "error", *(next(names) for _ in range(5)), next(names), next(names))


def plan(names: Iterator[str]) -> Plan:
    topology = Topology(next(names), (next(names),), 0, 8, 4, next(names), 29501)
    role = RolePlan((next(names),), (), {"report": next(names)}, next(names))
    one = HostPlan(next(names), topology, {next(names): role}, (finding(names),), next(names))
    return Plan({one.name: one, next(names): replace(one, roles={})})


def report(names: Iterator[str]) -> Report:
    failure = Failure("UNKNOWN", next(names), (next(names), next(names)))
    seen = Supervised(status=next(names), stage="pause")
    return Report(unit=next(names), run=next(names), phase="restarting", failure=failure, supervisor=seen,
                  foreign=(next(names),), weights=next(names), weights_flaw=next(names))  # fmt: skip


def displayed(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> str:
    """All that an action puts on the terminal, and its result as Ansible prints it."""
    out: list[str] = []
    for where in (page.Display, type(role_action.display), new_inventory.Display):
        monkeypatch.setattr(where, "display", lambda self, text, *a, **k: out.append(text))
    result = act()
    return "\n".join([*out, *texts(result)])


def texts(value: Any) -> Iterator[str]:
    """Every text in a result, the names of its keys too; one in several lines as those of a person are."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from (str(key), *texts(one))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield '"' + value.replace("\n", "\\n") + '"'  # Ansible prints a result as JSON


def role(names: Iterator[str], plugin: Any) -> Any:
    """The result of a role's action whose host says all this."""
    odd = {"msg": next(names), "observation": {next(names): next(names)}, "warnings": [next(names)], "failed": True}
    made = actions.action(plugin, repeat(odd), {"fleet_plan_format": "table"})
    return lambda: actions.run(made)


def tell(names: Iterator[str]) -> Any:
    made = actions.action(host_work, repeat({}), {})
    made.doing, made.host = next(names), next(names)
    now = Polled("running", next(names), 1.0, progress=Step(done=1, unit=next(names), what=next(names)))
    return lambda: made._show(now, next(names))


def refused(names: Iterator[str]) -> FleetError:
    return FleetError("refused", variable=next(names), found=next(names), expected=next(names), remedy="x")


def status(names: Iterator[str]) -> str:
    sent: list[str] = []
    notifier = Notifier({})
    notifier._send = sent.append  # type: ignore[method-assign]
    notifier.status(next(names))
    return "\n".join(sent)


def answer(names: Iterator[str]) -> dict[str, Any]:
    return {next(names): [next(names)], "diff": {"before": next(names)}, "msg": next(names)}


def removed(names: Iterator[str]) -> Any:
    part = {"path": next(names), "why": next(names), "also": next(names), "bytes": 1}
    made = actions.action(teardown, repeat({"removed": [{"bytes": 1}], "kept": [part, part]}), {})
    return lambda: actions.run(made)


def followed(names: Iterator[str]) -> Any:
    made = actions.action(training_logs, repeat({}), {})
    made.host = next(names)
    news = News((next(names), next(names)), (next(names),), at=5, skipped=1)
    return lambda: made._print(news)


def fetched(names: Iterator[str]) -> Any:
    made = actions.action(checkpoint_fetch, repeat({}), {})
    made.host, made.run_folder = next(names), next(names)
    one, other = File(next(names), 1, ""), File(next(names), 1, "")
    offer = Offer(files=(one,), logs=(other,), left_out=(next(names),))
    return lambda: made._tell(offer, next(names), [one], [other])


def asked_for_keys(names: Iterator[str]) -> Any:
    made = actions.action(new_inventory, repeat({}), {})
    server = Server(next(names), user=next(names))
    return lambda: made._show({next(names): server}, {server: [HostKey(next(names), "QUJD")]})


Printer = Callable[[Iterator[str], pytest.MonkeyPatch], str]
PRINTERS: dict[str, Printer] = {
    "the plan": lambda names, _: plan_text.plan_text(plan(names)),
    "a finding": lambda names, _: "\n".join(findings_text.finding_lines(finding(names))),
    "the plan's task": lambda names, m: displayed(m, lambda: planned(names)),
    "the plan as JSON": lambda names, _: "\n".join(texts(plan_data(plan(names)))),
    "a table": lambda names, _: "\n".join(table.lines([[next(names), next(names)]])),
    "the fleet": lambda names, _: trainings.fleet_table([trainings.row(report(names), next(names))]),
    "a host that is lost": lambda names, _: trainings.fleet_table([trainings.lost_row(*(next(names) for _ in "abc"))]),
    "a training that is followed": lambda names, _: trainings.progress_line(next(names), report(names)),
    "a start that is waited for": lambda names, _: trainings.waiting_line(next(names), report(names)),
    "a start that failed": lambda names, _: trainings.failed_start(report(names)),
    "progress": lambda names, _: progress.line(progress.reading({"what": next(names)}, 1.0), next(names)),
    "long work": lambda names, m: displayed(m, tell(names)),
    "an error": lambda names, _: str(refused(names)),
    "an error as a result": lambda names, _: "\n".join(texts(refused(names).as_result())),
    "a role's task": lambda names, m: displayed(m, role(names, host_info)),
    "a module's result": lambda names, _: "\n".join(
        texts(shown.result({next(names): [next(names)], "diff": next(names)}))
    ),
    "teardown": lambda names, m: displayed(m, removed(names)),
    "logs that are followed": lambda names, m: displayed(m, followed(names)),
    "what is fetched": lambda names, m: displayed(m, fetched(names)),
    "the host keys of servers": lambda names, m: displayed(m, asked_for_keys(names)),
    "systemctl status": lambda names, _: status(names),
}


def planned(names: Iterator[str]) -> Any:
    made = plan(names)
    actions.action(plan_action, iter(()), {})._show(made, "plan")
    return shown.result(made.as_dict())


@pytest.mark.parametrize("printer", PRINTERS)
def test_no_control_character_comes_out(printer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """5,000 names through each, several at once where a printer takes several."""
    used = 0
    source = hostile()

    def names() -> Iterator[str]:
        nonlocal used
        while True:
            used += 1
            yield next(source)

    given = names()
    while used < NAMES:
        told = PRINTERS[printer](given, monkeypatch)
        assert dangerous(told) == [], ascii(told)[:300]
    assert used >= NAMES


def test_what_is_hidden_is_what_unicode_says() -> None:
    odd = {
        code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    }
    assert odd - {ord("\n")} <= {code for code in range(sys.maxunicode + 1) if shown.HIDDEN.match(chr(code))}
    drawn = "aé实验 –…✓✗×→·%\"'\\<>/~"
    assert shown.line(drawn) == shown.lines(drawn) == drawn


def test_a_name_stays_on_its_line_and_a_text_keeps_its_lines() -> None:
    assert shown.line("a\nb\x1b[2J\u202ec\udc80") == r"a\nb\x1b[2J\u202ec\udc80"
    assert shown.lines("a\nb\tc") == "a\nb\\tc"


def test_what_is_written_to_a_host_is_left_as_it_is() -> None:
    kept = {"roles": {"run_config": {"values": {"texts": {"script": "a\tb\x1b"}}}}}
    assert shown.result(kept) == kept


# The doors: whatever else prints would be a printer that nobody looked at.

DOORS = {
    "display",
    "warning",
    "error",
    "v",
    "vv",
    "vvv",
    "vvvv",
    "deprecated",
    "banner",
    "exit_json",
    "fail_json",
    "warn",
}
LOGS = ("roles/nvidia/work.py", "roles/nvidia/apt.py", "roles/dataset/tokenizer.py", "system/hub.py")  # entry.py hides


def calls(path: Any) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield name, node


def looked_at(call: ast.Call) -> bool:
    """Does every text of the call come from shown.py, or from the error that passes it?"""
    source = ast.unparse(call)
    return "shown." in source or "as_result()" in source or (not call.args and not call.keywords)


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda path: path.stem)
def test_whatever_prints_passes_the_one_function(path: Any) -> None:
    place = str(path.relative_to(ROOT / "plugins"))
    for name, call in calls(path):
        if name == "print" and not place.endswith(LOGS):
            pytest.fail(f"{place}:{call.lineno} prints by itself")
        if name in DOORS and not place.startswith("module_utils"):
            assert looked_at(call), f"{place}:{call.lineno}: {ast.unparse(call)[:90]}"


def test_a_result_shows_so_much_text_and_no_more() -> None:
    """Each text is within its own limit; all of them together would cost minutes."""
    told = shown.result({"msg": ["x" * 30] * 5, "files": ["x" * 200], "diff": {"after": "y"}}, 100)
    assert told["msg"] == ["x" * 30] * 3 + ["(30 characters, not shown)"] * 2
    assert told["files"] == ["x" * 200]
    assert told["diff"] == {"after": "(1 characters, not shown)"}
    assert shown.result({"msg": "x" * 200})["msg"] == "x" * 200


def test_the_end_of_a_line_is_not_looked_at() -> None:
    begun = time.process_time()
    assert shown.line("a=b " * 1_000_000).endswith("…")
    assert time.process_time() - begun < 1
