"""Mutated answers of a host, as a broken or hostile one may send them, in its own run and in a run of two hosts.

A sound run is planned beside it. Nothing may be raised, no other run may hear of it, and what is refused says why.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass, replace
from random import Random
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ansible_collections.canvas.fleet.plugins.action.plan import DECIDE
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import Finding
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import make_plan
from ansible_collections.canvas.fleet.plugins.module_utils.plan.observation import HostSeen, Observation, understood
from ansible_collections.canvas.fleet.plugins.module_utils.plan.text import plan_text

from tests.fuzz.fleet import Host, observe, settings


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


GONE, MORE, LONG_KEY, MANY = "gone", "one key more", "a key of 300 letters", "very many"
ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 10**12, 2**62, 2**63 - 1, -(2**63), 2**70, 0.5, -0.0, 1e300, -1e300, 5e-324,
    float("inf"), float("-inf"), float("nan"), "", "x", "0", "-1", "nan", "\ud800", "\x1b[2J\x07", "\x00", "\n\n",
    "../../etc", "{{ x }}", "%s %d {0}", "a" * 300, "9" * 5000, "é", [], [[]], [None], ["x"], [{}], {}, {"x": 1},
    {"": None}, {"a": {"b": []}}, nested(300), GONE, MORE, LONG_KEY, MANY,
)  # fmt: skip


TEXTS = (
    "7.1",
    "active",
    "failed",
    "loaded",
    "/srv/x",
    "580.95.05",
    "x86_64",
    '{"a": 1}',
    "a" * 40,
    "interleave_reasoning",
)
NUMBERS = (0, 1, 3, 8, 4096, 10**9, 10**11)


def filled(kind: Any, value: Any, chance: Random, around: tuple[Any, ...] = ()) -> Any:
    """Plain data of this type, with something in about half of the places that are empty."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if is_dataclass(kind):
        given, within = value if isinstance(value, dict) else {}, (*around, kind)
        return {name: filled(hint, given.get(name), chance, within) for name, hint in wire.hints(kind).items()}
    if origin is Annotated:
        return filled(inner[0], value, chance, around)
    if origin is Union:
        choices = [one for one in inner if one is not type(None) and one not in around]
        if value is None and (chance.random() < 0.4 or not choices) and type(None) in inner:
            return None
        return filled(chance.choice(choices), None, chance, around) if value is None or not choices else value
    if origin is Literal:
        return value if chance.random() < 0.7 and value in inner else chance.choice(inner)
    if value or (value is not None and chance.random() < 0.5):
        return value
    if origin is tuple:
        inner = inner[:1] * chance.randint(1, 3) if inner[-1] is Ellipsis else inner
        return [filled(one, None, chance, around) for one in inner]
    if origin is Mapping:
        return {f"{chance.choice(TEXTS)}": filled(inner[1], None, chance, around) for _ in range(2)}
    return {str: chance.choice(TEXTS), bool: chance.random() < 0.5, int: chance.choice(NUMBERS), float: 0.5}[origin]


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Each place of plain data, the whole among them."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from paths(one, (*at, key))


def mutated(answer: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The answer with one place changed or taken away; as it was where an earlier mutation took the place away."""
    spoilt: Any = {"": copy.deepcopy(answer)}
    holder, last = spoilt, ""
    try:
        for key in path:
            holder, last = holder[last], key
        change(holder, last, value)
    except (LookupError, TypeError):
        return answer
    return spoilt[""]


def change(holder: Any, last: Any, value: Any) -> None:
    here = holder[last]
    if value == GONE and last != "":
        del holder[last]
    elif value in (MORE, LONG_KEY) and isinstance(here, dict):
        here["ansible_facts" if value == MORE else "k" * 300] = {"add_host": [1]}
    elif value == MANY and isinstance(here, dict) and here:
        here.update(dict.fromkeys(map(str, range(2000)), next(iter(here.values()))))
    elif value == MANY and isinstance(here, list):
        here *= 2000
    else:
        holder[last] = copy.deepcopy(value)


def known(answer: Any, identity: str) -> Observation | None:
    """The answer, of a machine of its own."""
    return understood({**answer, "facts": {**answer["facts"], "identity": identity}})[0]


class Fleet:
    """Hosts with the same settings: `a`, whose answer is mutated, its neighbour in a run of two, and a sound run."""

    def __init__(self, base: Mapping[str, Any], chance: Random) -> None:
        told, findings = settings(Host("a", base))
        bare = observe(told)
        time = bare["facts"]["time"]
        self.sound = HostSeen("z", "other", told, known(bare, "z"), tuple(findings), (time - 1, time + 1))
        self.near = known(bare, "n")
        self.alone = make_plan([self.sound], DECIDE).hosts["z"]
        self.answers = [bare, *(filled(Observation, copy.deepcopy(bare), chance) for _ in range(12))]
        for answer in self.answers[:9]:
            answer["silent"] = {}

    def wrong(self, answer: Any, places: tuple[tuple[Any, ...], ...], pair: bool) -> Iterator[str]:
        """What a plan with this answer of `a` does that it must not do."""
        seen, more = understood(answer)
        run = "pair" if pair else "its own"
        host = replace(self.sound, name="a", run=run, observation=seen, findings=(*self.sound.findings, *more))
        place = {**self.sound.settings, "fleet_address": "10.0.0.9"}
        near = replace(self.sound, name="n", run="pair", settings=place, observation=self.near)
        hosts = [host, near, self.sound] if pair else [host, self.sound]
        made = make_plan(hosts, DECIDE)
        plan_text(made)
        json.dumps(made.as_dict())
        if made.hosts["z"] != self.alone:
            yield "told at another run"
        for found in made.findings:
            yield from self.ill_told(found, places)
        if more:
            yield from (f"{one.name} goes on" for one in made.hosts.values() if one.name != "z" and not one.refused)

    def ill_told(self, found: Finding, places: tuple[tuple[Any, ...], ...]) -> Iterator[str]:
        if found.code == "ANSWER_NOT_JUDGED":
            yield f"no rule foresees {found.found}"
        if found.code != "HOST_ANSWER_MALFORMED":
            return
        tops = [place[0] if place else "" for place in places]  # of the whole, any part may be told
        if found.host != "a" or not found.expected or not found.remedy:
            yield "HOST_ANSWER_MALFORMED does not say where, what is expected or how to mend"
        if not any(found.found.startswith((top, "the answer: ")) for top in tops):
            yield f"{found.found} does not name {tops}"
        if len(found.found) > 400 or not found.found.isprintable():
            yield f"{found.found[:80]!r} cannot be read"


def broken(base: Mapping[str, Any], number: int, chance: Random) -> list[str]:
    """What went wrong in `number` answers with one or two mutations each."""
    fleet, wrong = Fleet(base, chance), []
    for count in range(number):
        answer = chance.choice(fleet.answers)
        known = list(paths(answer))
        changes = [(chance.choice(known), chance.choice(ODD)) for _ in range(1 + count % 2)]
        for place, value in changes:
            answer = mutated(answer, place, value)
        what = "; ".join(f"{place} = {value!r:.80}" for place, value in changes)
        try:
            wrong += [
                f"{what}: {text}" for text in fleet.wrong(answer, tuple(place for place, _ in changes), count % 4 > 1)
            ]
        except Exception as error:
            wrong.append(f"{what}: {type(error).__name__}: {error}")
    return wrong
