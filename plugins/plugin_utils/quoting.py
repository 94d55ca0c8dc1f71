# SPDX-License-Identifier: Apache-2.0
"""The filters of the templates: how a value is written in bash, YAML, Python, and a unit of systemd."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping

import yaml


def sh(value: object) -> str:
    """One word for bash."""
    return shlex.quote(str(value))


def each(values: Mapping[str, object], form: str) -> str:
    """`form` once for each name and value, the value as one word for bash."""
    return "".join(form.format(name, sh(value)) for name, value in values.items())


def yaml_scalar(value: object) -> str:
    """The value as YAML writes it, on one line."""
    plain = str(value) if isinstance(value, str) else value  # Ansible's own texts are no plain ones
    style = '"' if "\n" in str(value) else None
    dumped: str = yaml.safe_dump(plain, width=float("inf"), default_style=style)
    return dumped.rstrip("\n").removesuffix("\n...")


def python(value: object) -> str:
    """The value as Python writes it."""
    return repr(str(value) if isinstance(value, str) else value)


def unit_value(value: object) -> str:
    """The rest of a line, in which systemd expands %: once doubled it stays itself."""
    return str(value).replace("%", "%%")


def unit_words(values: Iterable[object]) -> str:
    """Paths of a list, each once."""
    return " ".join(_word(str(value)) for value in dict.fromkeys(values))


def unit_argument(value: object) -> str:
    """One word of a command line: neither a specifier nor a variable to systemd."""
    return _word(str(value)).replace("$", "$$")


def unit_quoted(value: object) -> str:
    """A part of a word that stands in double quotes on a command line."""
    return _escaped(str(value)).replace("$", "$$")


def _word(value: str) -> str:
    text = _escaped(value)
    return text if re.fullmatch(r"[\w/.:@%+-]+", text) else f'"{text}"'


def _escaped(value: str) -> str:
    return unit_value(value).replace("\\", "\\\\").replace('"', '\\"')


FILTERS: dict[str, Callable[..., str]] = {
    "sh": sh,
    "each": each,
    "yaml": yaml_scalar,
    "python": python,
    "unit_value": unit_value,
    "unit_words": unit_words,
    "unit_argument": unit_argument,
    "unit_quoted": unit_quoted,
}
