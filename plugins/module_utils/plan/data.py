"""The plan as data for other programs. docs/plan.schema.json declares its form. Pure."""

from __future__ import annotations

from typing import Any

from ..core import shown
from .make import Plan

VERSION = 1  # of the form; what is added to it leaves the number


def plan_data(plan: Plan) -> dict[str, Any]:
    """All that the text shows and more, without the texts of files that the roles take from the plan."""
    data: dict[str, Any] = shown.data({"version": VERSION, **plan.as_dict()})
    for host in data["hosts"].values():
        for role in host["roles"].values():
            del role["values"]
    return data
