"""Errors that the cores raise. A core never sees AnsibleModule; its module turns the error into fail_json."""

from __future__ import annotations


class FleetError(Exception):
    """Something a user can mend.

    `found`, `expected` and `remedy` are sentences without a final stop; `variable` names the setting to change.
    """

    def __init__(
        self, message: str, *, variable: str = "", found: str = "", expected: str = "", remedy: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.variable = variable
        self.found = found
        self.expected = expected
        self.remedy = remedy

    def __str__(self) -> str:
        parts = [self.message]
        for label in ("variable", "found", "expected", "remedy"):
            value = getattr(self, label)
            if value:
                parts.append(f"{label}: {value}")
        return "; ".join(parts)
