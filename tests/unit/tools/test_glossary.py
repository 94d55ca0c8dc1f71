"""The words of docs/glossary.md: dialect stays out of names and texts, and both languages fix the same terms.

A word is forbidden where it cannot be ordinary English: as a name in code, or in an exact phrase of a text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.support.places import ROOT

# Names in code, whole and with a leading underscore: old name -> what it is called.
NAMES = {
    "told": "what it holds, such as report, answer, progress",
    "Told": "OnProgress",
    "TOLD": "SPEC_FIELDS",
    "failure_told": "unit_failure",
    "Desk": "JobRunner",
    "desk": "runner",
    "Order": "JobSpec",
    "ticket": "request_id",
    "Crew": "NodeGroup",
    "crew": "node_group",
    "Heart": "Heartbeat",
    "heart": "heartbeat",
    "beat": "state",
    "Valve": "LogRateLimiter",
    "valve": "limiter",
    "Album": "ImageCache",
    "album": "cache",
    "Word": "StopDecision",
    "RunShape": "Topology",
    "strangers": "foreign_files",
    "kept_files": "managed_files",
    "guard_hooks": "guard",
    "Hooks": "GuardRunner",
    "patience": "timeout",
    "PATIENCE": "a name that ends in TIMEOUT",
    "claim": "mark_unfinished",
    "sweep": "what is removed",
    "gone": "removed, or missing",
    "pinned": "is_commit_id, pins_of, parse_pins",
    "surroundings": "environment",
}
# Phrases of pages, descriptions and messages that only the dialect has.
PHRASES = {
    r"\brooms?'s?\s+(?:variables?|tasks?|defaults)\b": "role",
    r"\b(?:the|a|each|every|this|another) room (?:observes|decides|applies|of the fleet)\b": "role",
    r"\b(?:Desk|Crew|Valve|Album)\b": "see NAMES",
    r"\bguard_hooks\b|\bkept_files\b|\bRunShape\b|\bteardown_rooms\b": "see NAMES",
    r"\bwho wants to\b[^.]*\bsets\b": "the sentence begins with 'To …, set'",
    r"\bwithout end\b": "name the limit",
    r"\band it is said\b|\bis told of\b": "say who reports what",
    r"\bfor the same ever\b|\bthe same for ever\b": "say what stays fixed",
}
CODE = ("plugins", "tools", "demo")
TEXTS = ("README.md", "docs/*.md", "roles/*/meta/argument_specs.yml", "plugins/module_utils/findings/of_*.py")


def names(source: str) -> Iterator[tuple[int, str]]:
    """Every name that a file gives or takes: definitions, arguments, variables, attributes, imports."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield line, node.name
        elif isinstance(node, ast.arg):
            yield line, node.arg
        elif isinstance(node, ast.Name):
            yield line, node.id
        elif isinstance(node, ast.alias):
            yield line, (node.asname or node.name).rpartition(".")[2]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            yield line, node.attr


def wrong_names(source: str) -> list[tuple[int, str]]:
    return [(line, name) for line, name in names(source) if name.lstrip("_") in NAMES]


def wrong_phrases(text: str) -> list[str]:
    return [found[0] for phrase in PHRASES for found in re.finditer(phrase, " ".join(text.split()))]


def terms(page: str) -> set[str]:
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    return {row for row in rows if row not in ("term", "英文", "---")}


def files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


@pytest.mark.parametrize("path", files(*(f"{place}/**/*.py" for place in CODE)), ids=lambda path: str(path.name))
def test_no_name_in_code_is_of_the_dialect(path: Path) -> None:
    found = [f"{path}:{line}: {name}: {NAMES[name.lstrip('_')]}" for line, name in wrong_names(path.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", files(*TEXTS), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_is_of_the_dialect(path: Path) -> None:
    assert wrong_phrases(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        pytest.param("told = 1", ["told"], id="a variable"),
        pytest.param("def f(_told): ...", ["_told"], id="an argument, underscored"),
        pytest.param("class Word: ...", ["Word"], id="a class"),
        pytest.param("from x import claim as gone", ["gone"], id="what is imported counts by its name here"),
        pytest.param("self.x = 'what was told'  # gone", [], id="ordinary English in a string and a comment"),
        pytest.param("order = 1; word = 2; re.sweeping()", [], id="ordinary words"),
    ],
)
def test_the_rule_sees_names_and_nothing_else(source: str, found: list[str]) -> None:
    assert [name for _, name in wrong_names(source)] == found


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        pytest.param("there is room for two; room (the space) runs out", False, id="room as ordinary English"),
        pytest.param("nobody is waited for\nwithout end", True, id="over a line's end"),
        pytest.param("the trainer was told to stop", False, id="told as a verb"),
    ],
)
def test_the_rule_sees_phrases_of_the_dialect_alone(text: str, seen: bool) -> None:
    assert bool(wrong_phrases(text)) is seen


def test_both_languages_fix_the_same_terms() -> None:
    assert terms("glossary.md") == terms("glossary.zh.md")
    assert len(terms("glossary.md")) > 40
