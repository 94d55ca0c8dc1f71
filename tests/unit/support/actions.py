"""An action plugin with a host that gives prepared answers, and a clock that passes by sleeping."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from ansible.vars import clean

TOPOLOGY = {"run": "atlas", "hosts": ["atlas"], "node_rank": 0, "nproc_per_node": 2, "num_workers": 1,
            "master_addr": "localhost", "master_port": 29501, "addresses": [], "world_size": 2}  # fmt: skip


class Clock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        assert seconds <= 5.0, "a poll is never far away"
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


def action(plugin: Any, answers: Iterator[Any], settings: dict[str, Any], check: bool = False, **arguments: Any) -> Any:
    """The plugin's action; an exception among the answers is raised. `asked` collects what the module was asked."""
    task = SimpleNamespace(args=arguments, check_mode=check, async_val=0, collections=None, action="canvas.fleet.x")
    connection = SimpleNamespace(reset=lambda: None, _shell=SimpleNamespace(tmpdir=None))
    made: Any = plugin.ActionModule(task, connection, SimpleNamespace(), None, None, None)
    made.asked, made.clock = [], Clock()
    made._resolved = lambda: ({"fleet_reconnect_timeout": 60, "fleet_work_timeout": 3600, **settings}, [])
    made._template = lambda value: value

    def execute(name: str | None, module_args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        made.asked.append(module_args)
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return dict(found)

    made._execute_module = execute
    return made


def run(made: Any, **variables: Any) -> dict[str, Any]:
    given = {"inventory_hostname": "atlas", "preflight_plan": {"topology": TOPOLOGY}, **variables}
    result: dict[str, Any] = made.run(None, given)
    return result


def parsed(made: Any, output: dict[str, Any], profile: str) -> dict[str, Any]:
    """A module's answer as Ansible reads it out of its output: until 2.20 a mapping, then an object."""
    answer = made._parse_returned_data(output, profile)
    if isinstance(answer, dict):
        clean.remove_internal_keys(answer)
        return answer
    answer.remove_internal_keys()
    read: dict[str, Any] = answer.as_result_dict(for_round_trip=True)
    return read
