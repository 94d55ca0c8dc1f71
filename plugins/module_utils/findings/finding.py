"""Findings: what is wrong with a run. catalogue.py says what each code means.

A finding is data. Text is made at the edge (terminal, JSON, docs/findings.md).
Nothing else decides whether a run may start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from .catalogue import CATALOGUE
from .entry import Entry
from .shape import Finding

__all__ = ["CATALOGUE", "SEVERITIES", "Entry", "Finding", "few", "finding", "placed"]

SEVERITIES = ("error", "warning", "note")
MOST = 20  # findings of one code at one host
LONG = 16_000  # characters of what was found; each of them is looked through for secrets


def finding(code: str, *, found: str, expected: str, host: str = "", variable: str = "", remedy: str = "") -> Finding:
    """A finding of the catalogue. Raises KeyError for a code that the catalogue does not hold."""
    entry = CATALOGUE[code]
    return Finding(
        code=code,
        severity=entry.severity,
        host=host,
        found=found[:LONG],
        expected=expected,
        because=entry.because,
        remedy=remedy or entry.remedy,
        variable=variable,
    )


def few(findings: Iterable[Finding]) -> list[Finding]:
    """At most so many of a code that a person reads them; the last one says how many more there are."""
    kept: list[Finding] = []
    place, number = {}, Counter[str]()
    for one in findings:
        number[one.code] += 1
        if number[one.code] <= MOST:
            place[one.code] = len(kept)
            kept.append(one)
    for code, at in place.items():
        if more := max(0, number[code] - MOST):
            kept[at] = replace(kept[at], found=f"{kept[at].found}; and {more:,} more of this code")
    return kept


def placed(findings: Iterable[Finding], *, host: str, run: str, accept: Iterable[str] = ()) -> list[Finding]:
    """The findings with host and run filled in where missing; accepted codes are marked, not dropped."""
    accepted = set(accept)
    return [
        replace(f, host=f.host or host, run=f.run or run, accepted=f.accepted or f.code in accepted) for f in findings
    ]
