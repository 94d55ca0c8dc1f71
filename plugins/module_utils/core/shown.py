"""Makes texts safe to show. Every text of a host, a log or an inventory passes here before a person sees it.

Characters that a terminal or a browser would obey, or not draw at all, become visible: \\x1b, \\u202e. A name stays on
its line. Secrets are hidden (masking.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from .masking import masked

T = TypeVar("T")
# Unicode's controls, formats, separators of lines, lone surrogates, and what is drawn as nothing; without the newline.
_NEVER = (
    "\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\\xad\\u034f\\u0600-\\u0605\\u061c\\u06dd\\u070f\\u0890-\\u0891\\u08e2\\u115f-\\u1160"
    "\\u17b4-\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u2800\\u3164\\ud800-\\udfff\\ufe00-\\ufe0f\\ufeff"
    "\\uffa0\\ufff0-\\ufffb\\U000110bd\\U000110cd\\U00013430-\\U0001345f\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a"
    "\\U000e0000-\\U000e0fff"
)
HIDDEN = re.compile(f"[{_NEVER}]")
HIDDEN_IN_LINE = re.compile(f"[{_NEVER}\\n]")
LONG = 4_000  # characters of a line; a longer one would hide the lines of others
SEEN = 4 * LONG  # so much of a line is looked at for what its shown part may hold
PEOPLE = 2 << 20  # characters of all texts for people in the result of one host
# Of a result: what is written to a host as it is, and what is there for a person.
RAW = "texts"
FOR_PEOPLE = frozenset((
    "msg", "finding", "findings", "diff", "warnings", "module_stdout", "module_stderr", "exception", "problems",
    "reasons", "row", "rows", "failure", "tail", "log", "error", "would", "moves", "refusal", "unready",
))  # fmt: skip


def line(value: object) -> str:
    """One line of a text for a person."""
    given = str(value)
    text = masked(given[:SEEN])
    return HIDDEN_IN_LINE.sub(_escape, text if len(text) <= LONG and len(given) <= SEEN else f"{text[:LONG]}…")


def lines(text: str) -> str:
    """A text of several lines for a person."""
    return HIDDEN.sub(_escape, masked(text))


def page(text: str) -> str:
    """Lines of several hosts: each is looked at alone, so that what one begins (a quotation, a key) hides no other."""
    return "\n".join(map(line, text.split("\n")))


def visible(text: str) -> str:
    """The text as it is, but for the characters that nobody sees."""
    return HIDDEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return ascii(found.group())[1:-1]


def each(value: T) -> T:
    """The same dataclass, mapping or list, with each text in it as one line."""
    return cast("T", _each(value))


def _each(value: Any) -> Any:
    if isinstance(value, str):
        return line(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: _each(getattr(value, one.name)) for one in fields(value) if one.init})
    if isinstance(value, Mapping):
        return {_each(key): _each(one) for key, one in value.items()}
    return type(value)(map(_each, value)) if isinstance(value, (list, tuple)) else value


def data(value: Any) -> Any:
    """Plain data for a page, each text in it as in `lines`. It stays valid JSON, whatever a host says."""
    return _Result(0).read(value, "msg")


def result(value: T, most: int = 0) -> T:
    """A task's result: Ansible prints it, and the next tasks read it. `most`: characters for people, of one host."""
    return cast("T", _Result(most).read(value, ""))


class _Result:
    """`most`: characters for people that are looked through, 0 for no limit. What is beyond them is not shown."""

    def __init__(self, most: int) -> None:
        self.most, self.seen = most, 0

    def read(self, value: Any, key: str) -> Any:
        if key == RAW:
            return value
        if isinstance(value, str):
            return self.text(value) if key in FOR_PEOPLE else visible(value)
        if isinstance(value, Mapping):
            return {_key(one): self.read(inner, key if key in FOR_PEOPLE else str(one)) for one, inner in value.items()}
        return [self.read(one, key) for one in value] if isinstance(value, (list, tuple)) else value

    def text(self, value: str) -> str:
        self.seen += len(value)
        too_much = self.most and self.seen > self.most
        return f"({len(value)} characters, not shown)" if too_much else lines(value)


def _key(name: Any) -> Any:
    return HIDDEN_IN_LINE.sub(_escape, name) if isinstance(name, str) else name
