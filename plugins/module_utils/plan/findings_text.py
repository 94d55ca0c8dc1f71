"""Findings as text: once for all hosts, and in one line where nothing is asked of the user. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Container, Iterable, Sequence

from ..core import folded, shown
from ..findings.finding import SEVERITIES, Finding
from .make import Plan

WIDTH = 110  # letters of a line of prose; a wider terminal makes it no easier to read
CODE = 24  # letters of a code, so that the places behind it stand below each other
MOST = 5  # different things found that one block names
ACCEPTED = "accepted"
HEAD = 34  # where the place stands, behind label and code


def label(found: Finding) -> str:
    return ACCEPTED if found.accepted else found.severity


def is_brief(found: Finding) -> bool:
    """True for what the user knows already, or what the product corrects by itself."""
    return found.accepted or found.severity == "note"


def groups(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings that differ in their place, or in what was found there, alone. Brief ones may differ in the cure."""
    together: dict[tuple[str, ...], list[Finding]] = {}
    for found in findings:
        same = () if is_brief(found) else (found.expected, found.because, found.remedy)
        together.setdefault((label(found), found.code, found.variable, *same), []).append(found)
    return [*together.values()]


def finding_lines(found: Finding, width: int = WIDTH) -> list[str]:
    """One finding in full: code and place, then the variable where there is one, found, expected, because, remedy."""
    return block([found], width)


def block(group: Sequence[Finding], width: int = WIDTH) -> list[str]:
    """Findings of one group in full."""
    width, group = min(width, WIDTH), [shown.each(found) for found in group]
    first = group[0]
    lines = wrapped(f"{label(first):<8} {first.code:<{CODE}} ", place(group), width, HEAD)
    for name in ("variable", "found", "expected", "because", "remedy"):
        texts = _found(group) if name == "found" else [getattr(first, name)]
        for number, text in enumerate(filter(None, texts)):
            lines += wrapped(f"  {'' if number else name:<10}", text, width, 12)
    return lines


def brief(group: Sequence[Finding], width: int = WIDTH) -> str:
    """Findings of one group in one line: what was found first, as far as the line reaches, and how much else."""
    group = [shown.each(found) for found in group]
    first = group[0]
    where = folded.hosts(found.host for found in group if found.host) or f"run {first.run}"
    others = len({found.found for found in group}) - 1
    more = f" (and {others} more)" if others else ""
    line, width = f"{label(first):<8} {first.code:<{CODE}} {where}: {first.found}", width - len(more)
    return (line if len(line) <= width else f"{line[: width - 1]}…") + more


def place(group: Sequence[Finding]) -> str:
    """`run bolt hosts bolt[0-1]`; a run that is one of several, or has the name of its host, is not named."""
    hosts = [*dict.fromkeys(found.host for found in group if found.host)]
    runs = {found.run for found in group}
    parts = [f"run {run}" for run in runs if run and [run] != hosts] if len(runs) == 1 else []
    parts += [f"host{'s' if hosts[1:] else ''} {folded.hosts(hosts)}"] if hosts else []
    return " ".join(parts)


def _found(group: Sequence[Finding]) -> list[str]:
    """What was found, with the hosts where they differ in it."""
    at: dict[str, list[str]] = {}
    for found in group:
        at.setdefault(found.found, []).append(found.host)
    several = len({found.host for found in group}) > 1 and len(at) > 1
    texts = [f"{folded.hosts(hosts)}: {text}" if several else text for text, hosts in at.items()]
    return [*texts[:MOST], f"and {len(texts) - MOST} more"] if len(texts) > MOST + 1 else texts


def wrapped(first: str, text: str, width: int, indent: int) -> list[str]:
    return textwrap.wrap(
        text or " ",
        width,
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def findings_of(plan: Plan, codes: Container[str] | None = None, width: int = WIDTH) -> list[str]:
    """The findings of these codes, of all by default: the brief ones first, errors last."""
    chosen = groups(found for found in plan.findings if codes is None or found.code in codes)
    short = [brief(group, width) for group in chosen if is_brief(group[0])]
    lines = [*sorted(short), ""] if short else []
    for severity in reversed(SEVERITIES):
        for group in chosen:
            if not is_brief(group[0]) and group[0].severity == severity:
                lines += [*block(group, width), ""]
    return lines


def many(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"


def counts(findings: Iterable[Finding]) -> str:
    """ "2 errors, 1 warning": as many as are shown; accepted ones are counted apart."""
    found = [label(group[0]) for group in groups(findings)]
    parts = [many(found.count(severity), severity) for severity in SEVERITIES if severity in found]
    parts += [f"{found.count(ACCEPTED)} accepted"] if ACCEPTED in found else []
    return ", ".join(parts) or "no findings"
