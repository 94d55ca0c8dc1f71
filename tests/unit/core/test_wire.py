"""What crosses the wire comes back as it was, and what was not declared is refused at its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from hypothesis import given
from hypothesis import strategies as st


@dataclass(frozen=True)
class Unit:
    pid: int
    state: Literal["active", "failed"] = "active"


@dataclass(frozen=True)
class Seen:
    unit: Unit
    rate: float | None = None
    names: tuple[str, ...] = ()
    pair: tuple[int, str] = (0, "")
    units: Mapping[str, Unit] = field(default_factory=dict)
    entry: Mapping[str, bool | int | str] = field(default_factory=dict)
    nested: tuple[tuple[int, ...], ...] | None = None
    loss: wire.Measured | None = None


TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
UNITS = st.builds(Unit, st.integers(-(2**63) + 1, 2**63 - 1), st.sampled_from(["active", "failed"]))
SEEN = st.builds(
    Seen,
    UNITS,
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.lists(TEXTS).map(tuple),
    st.tuples(st.integers(0, 9), TEXTS),
    st.dictionaries(TEXTS, UNITS, max_size=3),
    st.dictionaries(TEXTS, st.booleans() | st.integers(0, 9) | TEXTS, max_size=3),
    st.none() | st.lists(st.lists(st.integers(0, 9), max_size=3).map(tuple), max_size=3).map(tuple),
)


@given(SEEN)
def test_what_crosses_comes_back_as_it_was(seen: Seen) -> None:
    assert wire.from_dict(Seen, json.loads(json.dumps(wire.to_dict(seen)))) == seen


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 0.5, 2])
def test_what_is_measured_may_be_no_number(loss: float) -> None:
    crossed = json.loads(json.dumps(wire.to_dict(Seen(Unit(1), loss=loss))))
    assert repr(wire.from_dict(Seen, crossed).loss) == repr(float(loss))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": {"pid": "x"}}, "roles.a.unit.pid: found 'x', expected int"),
        ({"unit": {}}, "roles.a.unit.pid: found nothing, expected int"),
        ({"unit": {"pid": True}}, "roles.a.unit.pid: found True, expected int"),
        ({"unit": {"pid": 1.0}}, "roles.a.unit.pid: found 1.0, expected int"),
        ({"unit": {"pid": 2**64}}, "roles.a.unit.pid: found a number beyond 64 bits, expected int"),
        (
            {"unit": {"pid": 1, "state": "odd"}},
            "roles.a.unit.state: found 'odd', expected one of 'active', 'failed'",
        ),
        (
            {"unit": {"pid": 1, "state": ["active"]}},
            "roles.a.unit.state: found a list of 1, expected one of 'active', 'failed'",
        ),
        ({"unit": None}, "roles.a.unit: found nothing, expected mapping"),
        ({"unit": [1]}, "roles.a.unit: found a list of 1, expected mapping"),
        ({"rate": float("nan")}, "roles.a.rate: found nan, expected float"),
        ({"rate": float("inf")}, "roles.a.rate: found inf, expected float"),
        ({"rate": "1"}, "roles.a.rate: found '1', expected float"),
        ({"loss": "nan"}, "roles.a.loss: found 'nan', expected float"),
        ({"loss": 2**70}, "roles.a.loss: found a number beyond 64 bits, expected float"),
        ({"names": "ab"}, "roles.a.names: found 'ab', expected list"),
        ({"names": ["a", None]}, "roles.a.names[1]: found nothing, expected str"),
        ({"names": ["\ud800"]}, "roles.a.names[0]: found '\\ud800', expected a text in UTF-8"),
        ({"names": ["\x1b[2J" + "b" * 80]}, None),
        ({"names": ["b" * (wire.TEXT + 1)]}, f"found a text of {wire.TEXT + 1} characters, expected at most"),
        ({"names": [""] * (wire.ITEMS + 1)}, f"found {wire.ITEMS + 1} items, expected at most {wire.ITEMS}"),
        ({"names": ["b" * wire.TEXT] * 20}, "more than"),
        ({"pair": [1]}, "roles.a.pair: found 1 items, expected 2"),
        ({"units": {"a": {"pid": 1}, "b": 2}}, "roles.a.units.'b': found 2, expected mapping"),
        ({"units": {1: {"pid": 1}}}, "roles.a.units: found 1, expected str"),
        ({"entry": {"a": []}}, "roles.a.entry.'a': found a list of 0, expected str"),
        ({"nested": [[1], ["2"]]}, "roles.a.nested[1][0]: found '2', expected int"),
        ({"unknown": {"add_host": {}}}, None),
        ({"rate": 3}, None),
    ],
)
def test_what_was_not_declared_is_refused_at_its_place(change: dict[str, Any], message: str | None) -> None:
    told = {"unit": {"pid": 1}, **change}
    if message is None:
        assert not hasattr(wire.from_dict(Seen, told, "roles.a"), "unknown")
        assert wire.from_record(Seen, told) is not None
        return
    with pytest.raises(wire.MalformedError) as caught:
        wire.from_dict(Seen, told, "roles.a")
    assert message in str(caught.value)
    assert wire.from_record(Seen, told) is None


def test_no_control_character_of_a_host_reaches_the_message() -> None:
    with pytest.raises(wire.MalformedError) as caught:
        wire.from_dict(Seen, {"unit": {"pid": "\x1b]52;c;\x07\u202e"}})
    assert str(caught.value).isprintable()


def test_names_that_are_not_utf_8_cross_as_far_as_they_are() -> None:
    assert wire.to_dict(Seen(Unit(1), names=("a\udcff",)))["names"] == ["a�"]


@dataclass(frozen=True)
class Undeclared:
    anything: Any


def test_a_type_that_checks_nothing_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="no type of the wire"):
        wire.from_dict(Undeclared, {"anything": 1})


def deep(levels: int) -> Any:
    value: Any = ""
    for number in range(levels):
        value = [value] if number % 2 else {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (deep(wire.DEPTH - 1), ""),
        (deep(wire.DEPTH), "64 levels"),
        (deep(100_000), "64 levels"),
        ({"a": ["x" * 990]}, ""),
        ({"a": ["x" * 1000]}, "characters and items"),
        ({"x" * 1000: 1}, "characters and items"),
        ([[0] * 500] * 2, "characters and items"),
    ],
    ids=["levels", "too many", "endless", "long", "too long", "a long key", "many"],
)
def test_an_answer_is_bounded_in_depth_and_size(value: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "WHOLE", 1000)
    try:
        wire.bounded(value)
        told = ""
    except wire.MalformedError as error:
        told = str(error)
    assert (message in told, bool(told)) == (True, bool(message))


@dataclass(frozen=True)
class Needs:
    number: int | None


def test_what_lacks_is_told_with_all_that_it_may_be() -> None:
    with pytest.raises(wire.MalformedError) as caught:
        wire.from_dict(Needs, {}, "roles.a")
    assert str(caught.value) == "roles.a.number: found nothing, expected int or nothing"
