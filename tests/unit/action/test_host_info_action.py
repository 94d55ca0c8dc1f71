"""Whom a host asks whether the first one of its run can be reached."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible_collections.canvas.fleet.plugins.action import host_info
from ansible_collections.canvas.fleet.plugins.action.host_info import master
from ansible_collections.canvas.fleet.plugins.plugin_utils import retry

from tests.unit.support import actions

SETTINGS = {"training_run": "pair", "run_config_master_port": 29501}


def variables(me: str, **hosts: dict[str, Any]) -> dict[str, Any]:
    return {"inventory_hostname": me, "groups": {"trainers": list(hosts)}, "hostvars": hosts, **hosts[me]}


PAIR = {"training_run": "pair"}


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        pytest.param(
            variables("b", a={**PAIR, "fleet_address": "10.0.0.1", "ansible_host": "1.2.3.4"}, b=PAIR),
            {"address": "10.0.0.1", "port": 29501},
            id="the address at which the hosts reach each other comes before Ansible's own",
        ),
        pytest.param(
            variables("b", a={**PAIR, "run_config_master_addr": "n0", "fleet_address": "10.0.0.1"}, b=PAIR),
            {"address": "n0", "port": 29501},
            id="an address that is given comes first",
        ),
        pytest.param(variables("b", a=PAIR, b=PAIR), {"address": "a", "port": 29501}, id="else the host's name"),
        pytest.param(variables("a", a=PAIR, b=PAIR), {}, id="the first host asks nobody"),
        pytest.param(variables("b", a={}, b=PAIR), {}, id="the first host of all is of another run"),
        pytest.param(variables("b", a=PAIR, b={}), {}, id="a run of one host"),
        pytest.param(
            variables("c", a={}, b=PAIR, c=PAIR), {"address": "b", "port": 29501}, id="the first of its own run"
        ),
    ],
)
def test_the_first_host_of_a_run(told: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert master(SETTINGS, told) == wanted


@pytest.mark.parametrize(
    ("answers", "codes"),
    [
        pytest.param(AnsibleConnectionFailure("ssh: connect: Connection refused"), ["SSH_REFUSED"], id="no connection"),
        pytest.param(AnsibleError("Missing sudo password"), ["BECOME_PASSWORD_MISSING"], id="no password"),
        pytest.param({"failed": True, "msg": "boom"}, ["HOST_UNREACHABLE"], id="a module that failed"),
        pytest.param({"observation": {}}, [], id="an observation"),
        pytest.param({"observation": 1}, ["HOST_ANSWER_MALFORMED"], id="no observation of the declared form"),
    ],
)
def test_a_host_that_is_not_observed_is_a_finding_and_no_failed_task(answers: Any, codes: list[str]) -> None:
    """A failed task would print all settings, and end the play for hosts that are well."""
    result = actions.run(actions.action(host_info, iter([answers]), SETTINGS))
    assert [one["code"] for one in result["findings"]] == codes
    assert not result.get("failed")
    assert ("observation" in result, "asked" in result) == (not codes, not codes)


@pytest.mark.parametrize(
    ("module", "asked"),
    [("host_info", {}), ("training_unit", {"state": "queried"}), ("host_work", {"state": "polled"})],
)
def test_a_host_that_never_answers_is_not_waited_for(
    module: str, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "ANSWER", 0.05)
    made = actions.action(host_info, iter(()), {})
    made.variables = {}
    made._execute_module = lambda *given, **more: time.sleep(20)
    begun = time.monotonic()
    with pytest.raises(AnsibleConnectionFailure, match="no answer within"):
        made.module(module, **asked)
    assert time.monotonic() - begun < 10
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
