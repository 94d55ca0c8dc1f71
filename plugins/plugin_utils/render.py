# SPDX-License-Identifier: Apache-2.0
"""The roles' templates, filled on the controller: plain Jinja, a value for each name, quoting.py's filters alone."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..module_utils.core.errors import FleetError
from .quoting import FILTERS

ROLES = Path(__file__).resolve().parents[2] / "roles"
# What a template may raise: Jinja itself, a filter, or an expression in it.
BROKEN = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, OSError, yaml.YAMLError)


def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader("/"), undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    made.filters = {**FILTERS}
    made.globals = {}
    return made


ENVIRONMENT = _environment()


class Templates:
    """Fills the template of a role, or the one that a user put in its place. `resolve` completes a user's path."""

    def __init__(self, resolve: Callable[[str], str] = os.path.expanduser) -> None:
        self._resolve = resolve

    def __call__(self, role: str, name: str, values: Mapping[str, object], path: str = "") -> str:
        """The text. Raises FleetError that says which line of which file has no value or is no template."""
        place = self._resolve(path) if path else str(ROLES / role / "templates" / name)
        try:
            return ENVIRONMENT.get_template(place.lstrip("/")).render(values)
        except BROKEN as error:
            raise FleetError(
                "the template cannot be filled",
                found=f"{place}{_line(error, place)}: {_words(error)}",
                expected="a Jinja template with the values and filters of the role's README",
            ) from error


def _line(error: Exception, place: str) -> str:
    """The line of the template at which it broke."""
    if isinstance(error, TemplateSyntaxError):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == place]
    return f", line {lines[-1]}" if lines else ""


def _words(error: Exception) -> str:
    return "no such file" if isinstance(error, TemplateNotFound) else str(error).partition("\n")[0]
