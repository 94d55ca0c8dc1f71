"""Errors that the cores raise. A core never sees AnsibleModule; `reported` turns its errors into a module's result."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Callable

from ..findings.shape import Finding
from . import shown

PARTS = ("message", "code", "variable", "found", "expected", "remedy")


class FleetError(Exception):
    """An error that a user can correct.

    `found`, `expected` and `remedy` are sentences without a final stop; `variable` names the setting to change.
    `code` is the finding's code in the catalogue, or empty.
    """

    def __init__(
        self, message: str, *, code: str = "", variable: str = "", found: str = "", expected: str = "", remedy: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.variable = variable
        self.found = found
        self.expected = expected
        self.remedy = remedy

    @classmethod
    def of(cls, finding: Finding) -> FleetError:
        """The finding as an error, with the catalogue's text as its message."""
        data = {name: getattr(finding, name) for name in PARTS[1:]}
        return cls(finding.because, **data)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FleetError:
        """The inverse of as_dict(). Version 0.1 wrote no code."""
        return cls(**{name: str(data.get(name) or "") for name in PARTS})

    def as_dict(self) -> dict[str, str]:
        """Its parts that are not empty."""
        return {name: self._shown(name) for name in PARTS if getattr(self, name)}

    def _shown(self, name: str) -> str:
        """A part for a person. What was found is one line; the words around it are ours, and may be several."""
        value = str(getattr(self, name))
        return shown.lines(value) if name in ("message", "remedy") else shown.line(value)

    def as_result(self) -> dict[str, Any]:
        """For fail_json and for a failed action: the text for a person, and the same as data."""
        return {"msg": str(self), "finding": self.as_dict()}

    def __str__(self) -> str:
        parts = self.as_dict()
        code, message = parts.pop("code", ""), parts.pop("message", "")
        return "; ".join(
            [f"{code}: {message}" if code else message, *(f"{name}: {one}" for name, one in parts.items())]
        )


def raise_for(findings: Iterable[Finding], codes: Iterable[str] | None = None) -> None:
    """Raises FleetError with the first finding that refuses, and names the others; or with the first of these codes."""
    wanted = None if codes is None else set(codes)
    found = [one for one in findings if (one.refuses if wanted is None else one.code in wanted)]
    if not found:
        return
    error = FleetError.of(found[0])
    if found[1:]:
        error.found += f"; and {len(found) - 1} more: {', '.join(one.code for one in found[1:])}"
    raise error


@contextmanager
def reported(fail_json: Callable[..., Any], more: Callable[[], Mapping[str, Any]] = dict) -> Iterator[None]:
    """Turn errors of the block into the module's result. `more` is added to a failed result."""
    try:
        yield
    except FleetError as error:
        fail_json(**error.as_result(), **more())
    except OSError as error:
        fail_json(**refused_by_host(error).as_result())


SQUASHED = "let the file server accept root (no_root_squash), or choose a folder on a local disk"
FULL = "free space and inodes there (df -h, df -i), or choose a folder on a larger disk"
REMEDIES = {
    errno.EACCES: SQUASHED,
    errno.EPERM: SQUASHED,
    errno.EROFS: SQUASHED,
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
}


def refused_by_host(error: OSError) -> FleetError:
    """An OSError as an error with a remedy. A network file system may treat root as nobody."""
    remedy = REMEDIES.get(error.errno or 0, "")
    return FleetError(
        "the disk is full" if remedy == FULL else "the host does not allow this",
        found=f"{error.filename or 'a file'}: {error.strerror or error}",
        remedy=remedy,
    )
