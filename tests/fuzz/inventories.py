"""Odd values of one host's inventory: anything that YAML can hold, under any variable, and odd names of hosts and runs.

Ansible itself stops at none of these, so the settings and the plan must not either. A finding names host and variable,
and the other runs are planned as if nothing were.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import yaml
from ansible_collections.canvas.fleet.plugins.action.plan import DECIDE
from ansible_collections.canvas.fleet.plugins.module_utils.plan.findings_text import finding_lines
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import Plan, make_plan
from ansible_collections.canvas.fleet.plugins.module_utils.plan.text import plan_text
from ansible_collections.canvas.fleet.plugins.plugin_utils.role_action import load_specs

from tests.fuzz.fleet import Host, host_seen

# As in an inventory; what YAML makes of them is what a user gets.
YAML = """
- {1: 1}
- {1: {2: 3}, null: null, true: no}
- {[1, 2]: 3}
- {2026-11-29: x}
- {a: .inf, b: -.inf, c: .nan}
- .inf
- -.inf
- .nan
- 1e400
- -0.0
- 2026-11-29
- 2026-11-29T12:00:00Z
- 2026-11-29 12:00:00 +8
- 0o17
- 0x1F
- 1_000
- 190:20:30
- !!binary aGVsbG8=
- !!set {a, b}
- !!set {1, 2}
- !!omap [a: 1, b: 2]
- !!pairs [a: 1, a: 2]
- !!str 7
- ~
- null
- "null"
- yes
- off
- "yes"
- ""
- " "
- "a\\u2028b"
- "\\uFEFFx"
- "\\u202Eabc"
- "\\e[2J"
- "a\\0b"
- []
- [[]]
- [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]
- [{a: [{b: [~]}]}]
- [~, 1, yes, 2026-11-29, .nan, {}]
- {a: {b: {c: {d: {e: []}}}}}
- {"": ""}
- {"{{ x }}": 1}
- "{{ nope }}"
- "{% for %}"
- "{{ 1 / 0 }}"
- "{{ [1] * 5 }}"
- "{{ none }}"
- "{{ undef }}"
- "{{ lookup('file', '/nope') }}"
- "%(x)s {0} {x!r}"
- "9999999999999999999999999999999"
- 9999999999999999999999999999999
- -9999999999999999999999999999999
"""


class Tagged(yaml.SafeLoader):
    """Keys of any kind become texts, where Python has no such key."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        return {self._key(key): self.construct_object(value, deep=True) for key, value in node.value}

    def _key(self, node: Any) -> Any:
        key = self.construct_object(node, deep=True)
        return str(key) if isinstance(key, (list, dict)) else key


def values() -> list[Any]:
    """Of YAML, and what a plugin of the user's own may give."""
    texts = ("\ud800", "x\ud800y", "a" * 300, "9" * 5000, "/" + "a" * 5000, "/" + "a" * 300, "é" * 300)
    numbers = (10**400, -(10**400), 10**5000, 2**63, 5e-324, 1e308, 1j, float("nan"))
    others = (b"\xff", {b"\xff"}, frozenset({b"a"}), (1, 2), datetime.timedelta(1), range(3), object())
    own = [*texts, *numbers, *others, {"\ud800": "\udfff"}, ["\ud800"]]
    return [*yaml.load(YAML, Loader=Tagged), *own]  # noqa: S506 - a loader without code


NAMES = (
    "a" * 300,
    "é" * 90,
    "a b",
    "a\nb",
    "\x1b[2J",
    "../../x",
    "{{ x }}",
    "a;rm",
    "",
    "\ud800",
    "-x",
    "A" * 64,
    "::1",
)


class Fleet:
    """Host `a`, whose inventory is odd, its neighbour where they share a run, and a sound run beside them."""

    def __init__(self, base: Mapping[str, Any]) -> None:
        self.base = base
        self.sound = replace(host_seen(Host("z", {**base, "training_run": "other"})), name="z")
        self.alone = make_plan([self.sound], DECIDE).hosts["z"]

    def plan(self, name: str, given: Mapping[str, Any]) -> Plan:
        return make_plan([host_seen(Host(name, {**self.base, **given})), self.sound], DECIDE)

    def wrong(self, name: str, given: Mapping[str, Any], variables: frozenset[str]) -> Iterator[str]:
        """What goes wrong with the plan of a host of this name with these variables."""
        made = self.plan(name, given)
        plan_text(made).encode()
        json.dumps(made.as_dict())
        if made.hosts["z"] != self.alone:
            yield "told at another run"
        for found in made.findings:
            if found.host == "z" or not found.refuses:
                continue
            text = " ".join(" ".join(finding_lines(found)).split())
            if found.code == "ANSWER_NOT_JUDGED":
                yield f"no rule foresees {found.found}"
            blamed = {found.variable, *re.findall(r"\w+", found.found)}
            if found.code == "VARIABLE_INVALID" and variables and not variables & blamed:
                yield f"{found.variable} is blamed: {found.found:.80}"
            if len(text) > 2000:
                yield f"{len(text)} letters are nothing to read"


def broken(base: Mapping[str, Any], number: int, chance: Random) -> list[str]:
    """What went wrong with `number` odd values (0: each under each variable), and with odd names."""
    fleet, wrong = Fleet(base), []
    cases = [("a", {name: value}) for name in load_specs().options for value in values()]
    cases = chance.sample(cases, number) if number else cases
    cases += [(name, {}) for name in NAMES if name.isprintable() and name]
    cases += [("a", {"training_run": name}) for name in NAMES]
    for name, given in cases:
        try:
            wrong += [f"{name!r:.40} {given!r:.120}: {text}" for text in fleet.wrong(name, given, frozenset(given))]
        except Exception as error:
            wrong.append(f"{name!r:.40} {given!r:.120}: {type(error).__name__}: {error!s:.200}")
    return wrong
