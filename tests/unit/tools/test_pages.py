"""What the pages name is there: other pages, playbooks, targets of make, codes of findings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import CATALOGUE
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.failures import KINDS

from tests.unit.support.places import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")])
GUIDES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/start*.md"), *ROOT.glob("docs/recipes*.md")])


def anchors(page: Path) -> set[str]:
    """Of the headings, as code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            place = (page.parent / name).resolve() if name else page
            assert place.exists(), target
            assert not anchor or anchor in anchors(place), target


@pytest.mark.parametrize("page", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_playbook_and_target_that_a_guide_names_is_there(page: Path) -> None:
    text = page.read_text()
    books = set(re.findall(r"playbooks/(\w+)\.yml", text))
    assert {name for name in books if not (ROOT / f"playbooks/{name}.yml").is_file()} == set()
    targets = re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert named - {word for target in targets for word in target.split()} == set()


@pytest.mark.parametrize("page", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_code_of_a_guide_is_in_the_catalogue(page: Path) -> None:
    named = set(re.findall(r"`([A-Z]{2,}(?:_[A-Z0-9]+)+)`", page.read_text()))
    assert named - set(CATALOGUE) - {kind.name for kind in KINDS if hasattr(kind, "name")} == set()


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.zh.md"), *ROOT.glob("docs/*.zh.md")]), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_page_in_chinese_has_the_commands_of_the_english_one(page: Path) -> None:
    """Who copies them gets the same from both. A comment is translated, and so is the drawing of the phases."""

    def commands(one: Path) -> list[str]:
        blocks = re.findall(r"^```\w*\n(.*?)^```", one.read_text(), re.MULTILINE | re.DOTALL)
        lines = [re.split(r"(?:^|\s+)#", line)[0].rstrip() for block in blocks for line in block.splitlines()]
        return [line for line in lines if "──►" not in line]

    assert commands(page) == commands(page.with_name(page.name.replace(".zh.md", ".md")))
