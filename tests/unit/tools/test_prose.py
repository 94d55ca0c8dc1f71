"""Plain words: short sentences in pages and descriptions, and no phrase that has to be read twice.

A sentence ends at . ! ? : or ; and its code, links and parentheses count as one word or none.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.support.places import ROOT

WORDS = 28  # in one sentence
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")])
SPECS = sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))
MODULES = sorted(path for path in ROOT.glob("plugins/modules/*.py"))
SOURCES = sorted(path for place in ("plugins", "tools", "demo", "docs") for path in (ROOT / place).rglob("*.py"))
TASKS = sorted(path for place in ("playbooks", "roles") for path in (ROOT / place).rglob("*.yml"))
# What a reader stumbled over: phrase -> what to write.
PHRASES = {
    r"\b(?:is|are|was|were|be|been) told\b(?! to)": "is reported, or: gets the settings",
    r"\btold (?:of|as|about|by)\b|\btells? of\b": "reports",
    r"\bhand(?:s|ed)? (?:it |them )?over\b": "passes, gives",
    r"\b(?:moved|made|built|set|put|lies?|written|fetched|goe?s?) aside\b": "quarantine, or: under another name",
    r"\bas (?:it|they) came\b": "the original",
    r"\bwho(?:ever)? (?:has|holds|wants|comes) (?:proved|the|to|first)\b": "name the subject",
    r"\b(?:laid|lays) (?:there|it|them|down)\b|\bput there by\b": "wrote, foreign",
    r"\b(?:what|that|than|file) was meant\b|\bcannot be meant\b": "the expected one",
    r"\bto be had\b|\bin vain\b|\bfor good\b": "is missing, cannot help, until the end",
    r"\bwithout a word\b|\bin silence\b": "without a message",
    r"\bsays it all\b|\bthe word for a\b": "say it",
    r"\bcut off\b": "interrupted",
}


def sentences(text: str) -> Iterator[str]:
    """The sentences of a page in markdown; each cell of a table, heading and list item stands alone."""
    for noise in (r"```.*?```", r"<!--.*?-->"):
        text = re.sub(noise, "", text, flags=re.DOTALL)
    for block in re.split(r"\n\s*\n|\n(?=- |\d+\. |\||#|>)", text):
        for cell in block.split(" | ") if block.lstrip().startswith("|") else [block]:
            plain = re.sub(r"\([^()]*\)", "", re.sub(r"`[^`]*`", "X", cell))
            plain = re.sub(r"\bX(?:[, ·]+X)+", "X", " ".join(plain.split()))  # a list of names is one word
            yield from filter(None, re.split(r"(?<=[.!?:;])[\s*]+", plain.strip("|-* ")))


def too_long(text: str) -> list[str]:
    return [one for one in sentences(text) if len(one.split()) > WORDS]


def stumbles(text: str) -> list[str]:
    joined = " ".join(re.sub(r"^\s*# ", "", text, flags=re.MULTILINE).split())
    return [f"{found[0]}: {better}" for phrase, better in PHRASES.items() for found in re.finditer(phrase, joined)]


def descriptions(node: Any) -> Iterator[str]:
    """Every description in a spec or in a module's documentation."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("description", "short_description") and not isinstance(value, dict):
                yield from [value] if isinstance(value, str) else value
            else:
                yield from descriptions(value)
    elif isinstance(node, list):
        for value in node:
            yield from descriptions(value)


def documentation(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text()).body:
        names = [target.id for target in getattr(node, "targets", []) if isinstance(target, ast.Name)]
        if {"DOCUMENTATION", "RETURN"} & set(names):
            assert isinstance(node, ast.Assign)
            assert isinstance(node.value, ast.Constant)
            yield from descriptions(yaml.safe_load(str(node.value.value)))


def named(paths: list[Path]) -> list[Any]:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


@pytest.mark.parametrize("path", named([path for path in PAGES if not path.stem.endswith(".zh")]))
def test_a_page_has_short_sentences(path: Path) -> None:
    assert too_long(path.read_text()) == []


@pytest.mark.parametrize("path", named(SPECS))
def test_a_variable_is_described_in_short_sentences(path: Path) -> None:
    found = list(descriptions(yaml.safe_load(path.read_text())))
    assert found
    assert [one for text in found for one in too_long(text)] == []


@pytest.mark.parametrize("path", named(MODULES))
def test_a_module_is_described_in_short_sentences(path: Path) -> None:
    found = list(documentation(path))
    assert found
    assert [one for text in found for one in too_long(text)] == []


@pytest.mark.parametrize("path", named([*PAGES, *SPECS, *TASKS, *SOURCES]))
def test_nothing_has_to_be_read_twice(path: Path) -> None:
    assert stumbles(path.read_text()) == []


def bones(page: str) -> list[str]:
    """What both languages share: levels of headings, rows of tables, commands without their comments, and links."""
    text = (ROOT / page).read_text().replace(".zh.md", ".md")
    commands = re.findall(
        r"^(?:make|ansible-[a-z]+|cp|git|pip|python3|ssh-[a-z-]+|sudo|export|\.) [^#\n]*", text, re.MULTILINE
    )
    marks = re.findall(r"^(#+ |\| )", text, re.MULTILINE)
    return [*marks, *(command.strip() for command in commands), *sorted(re.findall(r"\]\(([^)]+)\)", text))]


@pytest.mark.parametrize(
    "english", ["README.md", *(f"docs/{page.name.replace('.zh', '')}" for page in ROOT.glob("docs/*.zh.md"))]
)
def test_both_languages_have_the_same_parts(english: str) -> None:
    assert bones(english) == bones(english.replace(".md", ".zh.md"))
    assert len(bones(english)) > 10


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("word " * 29, 1, id="one too many"),
        pytest.param("word " * 28, 0, id="as long as it may be"),
        pytest.param(f"{'word ' * 20}. {'word ' * 20}", 0, id="two sentences"),
        pytest.param(f"{'word ' * 20}; {'word ' * 20}", 0, id="a semicolon ends one, too"),
        pytest.param(f"```\n{'word ' * 40}\n```", 0, id="code does not count"),
        pytest.param(f"| {'word ' * 20} | {'word ' * 20} |", 0, id="cells stand alone"),
        pytest.param(f"- {'word ' * 20}\n- {'word ' * 20}", 0, id="items stand alone"),
        pytest.param(", ".join("`name`" for _ in range(40)), 0, id="a list of names is one word"),
        pytest.param(f"{'word ' * 20}({'word ' * 20})", 0, id="parentheses do not count"),
    ],
)
def test_the_length_is_that_of_one_thought(text: str, number: int) -> None:
    assert len(too_long(text)) == number


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        pytest.param("the user is told of it", True, id="told as the dialect has it"),
        pytest.param("the trainer was told to stop", False, id="told with an order"),
        pytest.param("it is moved\naside", True, id="over a line's end"),
        pytest.param("# it is moved\n# aside", True, id="over the lines of a comment"),
        pytest.param("kept/aside/ is the quarantine", False, id="the folder's name"),
    ],
)
def test_the_rule_sees_the_phrase_and_nothing_else(text: str, seen: bool) -> None:
    assert bool(stumbles(text)) is seen
