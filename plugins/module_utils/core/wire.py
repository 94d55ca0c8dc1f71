"""What crosses between a host and the controller, and what lies in records: frozen dataclasses, as plain data and back.

A dataclass declares all that may come: int, float, str, bool, None, Literal, Mapping, tuple, and other dataclasses.
A float is finite; a Measured may be nan or infinite, as the losses of a training may.
The reader accepts only declared keys in their declared types, and bounds every size.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import math
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import lru_cache
from typing import Annotated, Any, Callable, Literal, TypeVar, Union, cast, get_args, get_origin, overload

from .printable import is_utf8, printable

TEXT = 1 << 20  # characters of one text
ITEMS = 1_000_000  # of one list or mapping
WHOLE = 1 << 24  # characters and items of one answer
DEPTH = 64  # levels of an answer
NUMBER = 1 << 64  # whole numbers are smaller, whatever their sign

T = TypeVar("T")
Measured = Annotated[float, "nan or infinite, too"]


class MalformedError(ValueError):
    """Plain data that is not as declared. `place` is a path of keys, such as roles.training.unit.restarts."""

    def __init__(self, place: str, found: str, expected: str) -> None:
        super().__init__(f"{place or 'the whole'}: found {found}, expected {expected}")
        self.place, self.found, self.expected = place, found, expected


def to_dict(value: Any) -> Any:
    """The value as plain data for JSON. Bytes of a name that are not UTF-8 become �."""
    if is_dataclass(value):
        return {field.name: to_dict(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {printable(key): to_dict(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_dict(one) for one in value]
    return printable(value)


def from_dict(kind: type[T], value: Any, place: str = "") -> T:
    """The dataclass `kind` from plain data. Unknown keys are dropped, a missing key takes the default of its field.

    Raises MalformedError for everything else.
    """
    return cast("T", _Reader().read(kind, value, place))


def bounded(value: Any, place: str = "") -> None:
    """Raises MalformedError for plain data of too many levels, or too many characters and items. In linear time."""
    level, size = [value], 0
    for _level in range(DEPTH):
        size += len(level) + sum(len(one) for one in level if isinstance(one, str))
        if size > WHOLE:
            raise MalformedError(place, f"more than {WHOLE} characters and items", "an answer of limited size")
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return
    raise MalformedError(place, f"more than {DEPTH} levels", "an answer of limited depth")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return itertools.chain(value, value.values())
    return value if isinstance(value, (list, tuple)) else ()


@overload
def from_record(kind: type[T], value: Any) -> T | None: ...


@overload
def from_record(kind: type[T], value: Any, otherwise: T) -> T: ...


def from_record(kind: type[T], value: Any, otherwise: T | None = None) -> T | None:
    """The same for a record on a disk, which may be older or broken."""
    try:
        return from_dict(kind, value)
    except MalformedError:
        return otherwise


class _Reader:
    """Reads one answer; `left` is the size that it may still have."""

    def __init__(self) -> None:
        self.left = WHOLE

    def read(self, kind: Any, value: Any, place: str) -> Any:
        self.spend(1, place)
        if is_dataclass(kind):
            return self.fields(kind, value, place)
        return READERS.get(get_origin(kind) or kind, _Reader.undeclared)(self, kind, value, place)

    def spend(self, size: int, place: str) -> None:
        self.left -= size
        if self.left < 0:
            raise MalformedError(place, f"more than {WHOLE} characters and items", "an answer of limited size")

    def fields(self, kind: Any, value: Any, place: str) -> Any:
        known, present = hints(kind), self.items(dict, value, place)
        lacking = [one.name for one in fields(kind) if one.name not in present and _required(one)]
        if lacking:
            raise MalformedError(_below(place, lacking[0]), "nothing", _name(known[lacking[0]]))
        given = {name: self.read(known[name], present[name], _below(place, name)) for name in known if name in present}
        return kind(**given)

    def items(self, kind: type[Any], value: Any, place: str) -> Any:
        if not isinstance(value, kind):
            raise MalformedError(place, shown(value), "mapping" if kind is dict else "list")
        if len(value) > ITEMS:
            raise MalformedError(place, f"{len(value)} items", f"at most {ITEMS}")
        return value

    def mapping(self, kind: Any, value: Any, place: str) -> dict[str, Any]:
        _unused, inner = get_args(kind)
        return {
            self.read(str, key, place): self.read(inner, one, _below(place, shown(key)))
            for key, one in self.items(dict, value, place).items()
        }

    def tuple(self, kind: Any, value: Any, place: str) -> tuple[Any, ...]:
        inner, present = get_args(kind), self.items(list, value, place)
        if inner[-1] is Ellipsis:
            inner = inner[:1] * len(present)
        if len(inner) != len(present):
            raise MalformedError(place, f"{len(present)} items", str(len(inner)))
        return tuple(self.read(one, item, f"{place}[{at}]") for at, (one, item) in enumerate(zip(inner, present)))

    def union(self, kind: Any, value: Any, place: str) -> Any:
        choices = get_args(kind)
        if value is None and type(None) in choices:
            return None
        kinds = [one for one in choices if one is not type(None)]
        for one in kinds[:-1]:
            try:
                return self.read(one, value, place)
            except MalformedError:
                continue
        return self.read(kinds[-1], value, place)

    def literal(self, kind: Any, value: Any, place: str) -> Any:
        if not isinstance(value, (str, int)) or value not in get_args(kind):
            raise MalformedError(place, shown(value), _name(kind))
        return value

    def text(self, kind: Any, value: Any, place: str) -> str:
        if not isinstance(value, str):
            raise MalformedError(place, shown(value), "str")
        if len(value) > TEXT:
            raise MalformedError(place, f"a text of {len(value)} characters", f"at most {TEXT}")
        if not is_utf8(value):
            raise MalformedError(place, shown(value), "a text in UTF-8")
        self.spend(len(value), place)
        return str(value)

    def number(self, kind: Any, value: Any, place: str) -> Any:
        whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < NUMBER
        if not whole and not (kind is float and isinstance(value, float) and math.isfinite(value)):
            raise MalformedError(place, shown(value), kind.__name__)
        return kind(value)

    def measured(self, kind: Any, value: Any, place: str) -> float:
        return value if isinstance(value, float) else self.number(float, value, place)

    def truth(self, kind: Any, value: Any, place: str) -> bool:
        if not isinstance(value, bool):
            raise MalformedError(place, shown(value), "bool")
        return value

    def undeclared(self, kind: Any, value: Any, place: str) -> Any:
        raise TypeError(f"{place}: {kind} is no type of the wire")


READERS: Mapping[Any, Callable[[_Reader, Any, Any, str], Any]] = {
    Mapping: _Reader.mapping,
    tuple: _Reader.tuple,
    Union: _Reader.union,
    getattr(types, "UnionType", Union): _Reader.union,  # of Python 3.10 and newer
    Literal: _Reader.literal,
    str: _Reader.text,
    int: _Reader.number,
    float: _Reader.number,
    Annotated: _Reader.measured,
    bool: _Reader.truth,
}


def shown(value: Any) -> str:
    """The start of a value, without control characters."""
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= NUMBER:
        return "a number beyond 64 bits"
    text = ascii(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _name(kind: Any) -> str:
    """A type, for the text of a finding."""
    origin = get_origin(kind)
    if origin in (Union, getattr(types, "UnionType", Union)):
        return " or ".join("nothing" if one is type(None) else _name(one) for one in get_args(kind))
    if origin is Literal:
        return "one of " + ", ".join(map(repr, get_args(kind)))
    names = {Mapping: "mapping", tuple: "list"}
    return names.get(origin) or ("mapping" if is_dataclass(kind) else str(kind.__name__))


@lru_cache(maxsize=256)
def hints(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields. typing.get_type_hints does not know `int | None` before Python 3.10."""
    found: dict[str, Any] = {}
    for base in reversed([one for one in kind.__mro__ if is_dataclass(one)]):
        names = {**vars(builtins), **vars(sys.modules[base.__module__])}
        own = vars(base)["__annotations__"]
        found.update({name: _type(ast.parse(text, mode="eval").body, names) for name, text in own.items()})
    return found


def _type(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Attribute):
        return getattr(_type(node.value, names), node.attr)
    if isinstance(node, ast.Constant):
        return type(None) if node.value is None else node.value
    if isinstance(node, ast.BinOp):
        return Union[_type(node.left, names), _type(node.right, names)]
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return _type(node.value, names)[tuple(_type(one, names) for one in inner)]
    raise TypeError(f"{ast.dump(node)} is no type of the wire")
