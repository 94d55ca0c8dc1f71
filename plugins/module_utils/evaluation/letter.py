"""Which option a solution ends with, by a rule of our own: a letter A to D, or none.

A letter counts only where the text says that it is the answer: after "answer", "choose", 答案 or 选, before "is
correct", in a box, or alone as the last line; after "option" where nothing else says more. Of several such statements
the last one counts. One that names two letters ("B or C") is none. A small letter counts in brackets, in a box, or at
the end of a line after "answer:", because "a" is a word.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, cast

Letter = Literal["A", "B", "C", "D"]
LAST = 20_000  # characters of the text that are looked at
# No part of a pattern repeats without end: a text of blanks would cost the square of its length.
MARKS = r"[\s*_`$\"'\u201c\u201d(\[{<]{0,40}"  # that may stand before a letter
END = r"(?![A-Za-z0-9])(?!['\u2019][a-z])"
TEX = r"(?:\\(?:text|mathrm|mathbf|textbf|rm|bf)\s*\{?\s*)?"
LARGE, ANY = rf"{TEX}(?P<letter>[A-D]){END}", rf"{TEX}(?P<letter>[A-Da-d]){END}"
KINDS = r"(?:final\s+|correct\s+|right\s+|best\s+){0,4}"
WORD = rf"\b(?i:{KINDS}(?:answers?|ans|choice)(?:\s+(?:option|choice|letter))?)\b[*_`\s]*"
LINK = r"(?i:\bis\b|\bare\b|\bwould\s+be\b|\bshould\s+be\b|\bmust\s+be\b|[:=→]|->)"
FILL = r"(?:[\s*_`\"'\u201c\u201d:,]|\b(?i:therefore|thus|so|hence|clearly|the|indeed|option|choice|letter)\b){0,40}"
STRONG = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        rf"\\boxed\s*\{{[\s$({{]*{ANY}",
        rf"{WORD}{LINK}{FILL}{MARKS}{LARGE}",
        rf"{WORD}{LINK}[\s*_`]*[(\[]\s*{ANY}\s*[)\]]",
        rf"{WORD}[:=][\s*_`]*{ANY}[\s*_`.]*$",
        rf"{WORD}[(\[]?{LARGE}[)\]*_`]*[.!]?\s*$",
        rf"(?:^|[\s*_`(\[]){LARGE}[)\]*_`]*\s+is\s+(?:therefore\s+|thus\s+)?(?:the|my)\s+(?:\w+\s+){{0,2}}(?:answer|choice|option)\b",
        rf"(?:^|[\s*_`(\[]){LARGE}[)\]*_`]*\s+is\s+(?:the\s+)?(?:correct|right)\b",
        rf"\b(?i:choose|chose|select|pick)\b{FILL}{MARKS}{LARGE}",
        rf"(?:答案|正确选项|选择|应选|故选|选)(?:应该|应当|应|就)?[是为项:：\s]*{MARKS}{ANY}",
    )
)
WEAK = tuple(
    re.compile(pattern) for pattern in (rf"\b(?i:options?)\b{FILL}{MARKS}{LARGE}", rf"选项[\s:：]*{MARKS}{LARGE}")
)
ALONE = re.compile(rf"^{MARKS}{ANY}[\s*_`$\"'\u201c\u201d)\]}}>.。:]*$")
OTHER = re.compile(
    r"[)\]}*_`\"'\s]*(?:\b(?:or|and)\b|[/,&、]|或者?|和)\s*(?i:options?\s+)?[(\[{*_`\"'\s]*(?P<other>[A-D])" + END
)


def letter_of(text: str) -> Letter | None:
    """The last letter that the text calls its answer."""
    plain = unicodedata.normalize("NFKC", text)[-LAST:]
    lines = [line for line in plain.splitlines() if line.strip()]
    alone = ALONE.match(lines[-1]) if lines else None
    strong = _all(STRONG, plain)
    if alone and not strong:
        return _of(alone)
    found = strong or _all(WEAK, plain)
    return None if not found or _two(found, plain) else _of(found[-1])


def _all(patterns: tuple[re.Pattern[str], ...], text: str) -> list[re.Match[str]]:
    """Statements, by where their letters stand."""
    matches = [one for pattern in patterns for one in pattern.finditer(text)]
    return sorted(matches, key=lambda one: one.start("letter"))


def _of(found: re.Match[str]) -> Letter:
    return cast("Letter", found["letter"].upper())


def _two(found: list[re.Match[str]], text: str) -> bool:
    """Does the last statement name another letter beside its own, as in "option A or option B"?"""
    last = found[-1]
    for one in found:
        other = OTHER.match(text, one.end("letter"))
        if other and other["other"] != _of(one) and other.end("other") >= last.end("letter"):
            return True
    return False
