"""Pages that are made from code have each text in both languages, and the Chinese follows when the English changes."""

from __future__ import annotations

import importlib.util
import re
import sys
from typing import Any

import pytest

from tests.unit.support.places import ROOT

sys.path.insert(0, str(ROOT / "docs"))
SPEC = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
assert SPEC
assert SPEC.loader
generate: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)
chinese: Any = sys.modules["chinese"]


def english_of_findings() -> dict[str, dict[str, str]]:
    entries = generate.CATALOGUE.items()
    return {
        code: {"because": generate.prose(one.because), "remedy": generate.prose(one.remedy)} for code, one in entries
    }


def english_of_variables() -> dict[str, dict[str, str]]:
    found = {}
    for role, spec in generate.specs().items():
        found[role] = {"text": generate.prose(spec.get("description", spec["short_description"]))}
        found |= {name: {"text": generate.prose(one["description"])} for name, one in spec.get("options", {}).items()}
    return found


def wrong(english: dict[str, dict[str, str]], translated: dict[str, Any]) -> list[str]:
    """What has to be done, for each text that is missing, stale, incomplete or of nothing."""
    found = [f"{key}: is no longer there, remove it" for key in translated if key not in english]
    for key, texts in english.items():
        mark = chinese.mark(*texts.values())
        if translated.get(key, {}).get("of") != mark:
            found.append(f"{key}: translate {list(texts)} and set `of: {mark}`")
        elif lost := [word for name, text in texts.items() for word in names(text) - names(translated[key][name])]:
            found.append(f"{key}: the Chinese lacks {', '.join(lost)}")
    return found


def names(text: str) -> set[str]:
    """Names of variables, files and programs, which are the same in every language."""
    return set(re.findall(r"\b[a-z]+_[a-z_]*[a-z]\b", text))


def test_every_finding_is_there_in_chinese() -> None:
    assert wrong(english_of_findings(), chinese.load("findings")) == [], "docs/zh/findings.yml"


def test_every_variable_is_there_in_chinese() -> None:
    assert wrong(english_of_variables(), chinese.load("variables")) == [], "docs/zh/variables.yml"


@pytest.mark.parametrize(
    ("translated", "words"),
    [
        pytest.param({}, "translate ['text'] and set `of: ", id="missing"),
        pytest.param({"a": {"of": "00000000", "text": "用 set_this"}}, "translate", id="of an older text"),
        pytest.param({"a": {"of": None, "text": "用"}}, "the Chinese lacks set_this", id="without the variable's name"),
        pytest.param({"b": {}}, "b: is no longer there", id="of nothing"),
    ],
)
def test_what_is_wrong_with_a_translation_is_named(translated: dict[str, Any], words: str) -> None:
    english = {"a": {"text": "use set_this"}}
    if "a" in translated and translated["a"]["of"] is None:
        translated["a"]["of"] = chinese.mark("use set_this")
    assert words in wrong(english, translated)[0]
    assert wrong(english, {"a": {"of": chinese.mark("use set_this"), "text": "用 set_this"}}) == []


def test_without_a_translation_the_english_stands_there() -> None:
    assert chinese.chosen({}, "a", text="use it") == {"text": "use it"}
    assert chinese.chosen({"a": {"of": chinese.mark("use it"), "text": "用"}}, "a", text="use it") == {"text": "用"}
