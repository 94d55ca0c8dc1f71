"""Whom a host asks whether the first one of its run can be reached."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.action.host_info import master

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
