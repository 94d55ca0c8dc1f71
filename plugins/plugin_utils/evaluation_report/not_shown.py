# SPDX-License-Identifier: Apache-2.0
"""What the page of an evaluation cannot show, as one finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ...module_utils.core.errors import FleetError
from ...module_utils.evaluation.folder import ABOUT, ROWS
from ...module_utils.evaluation.offer import QUESTIONS
from ...module_utils.findings.finding import Finding, finding

if TYPE_CHECKING:
    from .summary import Collected

CODE = "EVALUATION_NOT_SHOWN"
FEW = 5  # parts that are named


def parts_of(offered: Iterable[str]) -> tuple[str, ...]:
    """`base/loss`, `0001530/answers`, … of which a host has files."""
    folders = ("/".join(name.split("/")[:2]) for name in offered if "/" in name)
    return tuple(dict.fromkeys(one for one in folders if not one.startswith(f"{QUESTIONS}/")))


def damaged(offered: Sequence[str], data: Collected) -> Iterator[str]:
    """Files that cannot be read, or have fewer rows than their evaluation had at its end."""
    if f"{QUESTIONS}/{ROWS}" in offered and not data.questions:
        yield f"{QUESTIONS}/{ROWS}"
    for folder in parts_of(offered):
        subject, mode = folder.split("/")
        part = data.parts.get(subject, {}).get(mode)
        if part is None:
            yield f"{folder}/{ABOUT}"
        elif part.about.ended and (there := len(part.loss or part.answers)) < part.about.rows:
            yield f"{folder}/{ROWS} ({there} of {part.about.rows} rows)"


def of_parts(host: str, parts: Sequence[str]) -> Finding:
    more = f", and {len(parts) - FEW} more" if len(parts) > FEW else ""
    found = f"cannot be read: {', '.join(parts[:FEW])}{more}"
    return finding(CODE, host=host, variable="evaluation_dir", found=found, expected="what an evaluation has written")


def of_error(host: str, error: FleetError | OSError) -> Finding:
    """The error as a finding that fails nothing."""
    given = error if isinstance(error, FleetError) else FleetError(str(error))
    found = ": ".join(filter(None, (given.message, given.found))) if given.code != CODE else given.found
    return finding(
        CODE,
        host=host,
        variable=given.variable,
        found=found,
        expected=given.expected or "an evaluation that can be brought",
        remedy=given.remedy,
    )
