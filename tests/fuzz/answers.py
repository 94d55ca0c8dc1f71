"""Single mutations of a host's answer, as a broken or hostile host may send it; a sound run is planned beside it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

from ansible_collections.canvas.fleet.plugins.action.plan import DECIDE
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import HostSeen, make_plan
from ansible_collections.canvas.fleet.plugins.module_utils.plan.observation import understood
from ansible_collections.canvas.fleet.plugins.module_utils.plan.text import plan_text

from tests.fuzz.fleet import Host, observe, settings

ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 10**12, 2**62, 2**70, 0.5, -0.0, 1e300, float("inf"), float("nan"), "", "x",
    "0", "\ud800", "\x1b[2J\x07", "../../etc", "a" * 300, "é", [], [[]], [None], ["x"], [{}], {}, {"x": 1},
    {"": None}, {"a": {"b": []}},
)  # fmt: skip


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Each place of plain data, the whole among them."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from paths(one, (*at, key))


def mutated(answer: Any, chance: Random) -> tuple[str, Any]:
    """(what was done, the answer with one place changed or taken away)."""
    places = list(paths(answer))
    path, value = chance.choice(places), chance.choice((*ODD, "gone"))
    if not path:
        return f"the whole = {value!r}", value
    spoilt = copy.deepcopy(answer)
    holder = spoilt
    for key in path[:-1]:
        holder = holder[key]
    if value == "gone":
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return f"{path} = {value!r}", spoilt


def broken(base: dict[str, Any], number: int, chance: Random) -> list[str]:
    """What went wrong in `number` mutations: an exception of the plan, or a finding on the host of another run."""
    told, findings = settings(Host("a", base))
    answer = observe(told)
    time = answer["facts"]["time"]
    sound = HostSeen("b", "other", told, understood(answer)[0], tuple(findings), (time - 1, time + 1))
    alone = make_plan([sound], DECIDE).hosts["b"].findings
    wrong = []
    for _ in range(number):
        what, spoilt = mutated(answer, chance)
        try:
            seen, more = understood(spoilt)
            host = replace(sound, name="a", run="its own", observation=seen, findings=(*findings, *more))
            made = make_plan([host, sound], DECIDE)
            plan_text(made)
            json.dumps(made.as_dict())
            if made.hosts["b"].findings != alone or any(found.host == "b" for found in made.hosts["a"].findings):
                wrong.append(f"{what}: told at another host")
        except Exception as error:
            wrong.append(f"{what}: {type(error).__name__}: {error}")
    return wrong
