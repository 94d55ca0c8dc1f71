"""docs/evaluation.schema.json from the dataclasses of evaluation.json."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin

from ansible_collections.canvas.fleet.plugins.module_utils.core.wire import hints
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report import shape

PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema() -> str:
    """The JSON Schema, one definition for each dataclass."""
    kinds = [one for one in vars(shape).values() if is_dataclass(one) and one is not shape.Evaluation]
    made = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "evaluation.json, the report of an evaluation of canvas-fleet",
        **_object(shape.Evaluation),
        "$defs": {kind.__name__.lower(): _object(kind) for kind in kinds if isinstance(kind, type)},
    }
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _object(kind: Any) -> dict[str, Any]:
    names = [field.name for field in fields(kind)]
    properties = {name: _type(hints(kind)[name]) for name in names}
    if kind is shape.Evaluation:
        properties["schema"] = {"const": shape.SCHEMA}
    return {
        "description": " ".join((inspect.getdoc(kind) or "").split()),
        "type": "object",
        "additionalProperties": False,
        "required": names,
        "properties": properties,
    }


def _type(kind: Any) -> dict[str, Any]:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if one is type(None) else _type(one) for one in inner]}
    if origin is tuple:
        return {"type": "array", "items": _type(inner[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _type(inner[1])}
    if origin is Literal:
        return {"enum": list(inner)}
    return {"$ref": f"#/$defs/{kind.__name__.lower()}"} if is_dataclass(kind) else {"type": PLAIN[kind]}
