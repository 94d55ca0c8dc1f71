"""Errors that the cores raise. A core never sees AnsibleModule; its module turns the error into fail_json."""

from __future__ import annotations

import errno


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


def refused_by_host(error: OSError) -> FleetError:
    """What the host's system would not do, as a user can mend it. Root is refused where a network file system takes it
    for nobody."""
    squashed = "let the file server trust root here (no_root_squash), or choose a folder on a disk of the host"
    return FleetError(
        "the host does not allow this",
        found=f"{error.filename or 'a file'}: {error.strerror or error}",
        remedy=squashed if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else "",
    )
