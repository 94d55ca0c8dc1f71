# SPDX-License-Identifier: Apache-2.0
"""Pages for a person at the terminal: as wide as it is, in Ansible's colours where it has some.

ANSIBLE_NOCOLOR, NO_COLOR and ANSIBLE_FORCE_COLOR mean here what they mean to Ansible; a pipe has no colours.
"""

from __future__ import annotations

import re
from functools import partial

from ansible import constants
from ansible.utils.color import stringc
from ansible.utils.display import Display

from ..module_utils.core import shown

PLAIN, WIDEST = 79, 160  # columns; a row of a table is hard to follow over more
# The word that a line begins with, or the state in a row, and the name of its colour in ansible.cfg.
COLOURS = (
    (re.compile(r"^(?:error\b|refused:).*"), "COLOR_ERROR"),
    (re.compile(r"^warning\b.*"), "COLOR_WARN"),
    (re.compile(r"^(?:note|accepted|skipped)\b.*"), "COLOR_SKIP"),
    (re.compile(r"(?<=  )(?:will change|no answer|not asked)(?=  )"), "COLOR_CHANGED"),
    (re.compile(r"(?<=  )(?:in sync|running|finished)(?=  )"), "COLOR_OK"),
    (re.compile(r"(?<=  )failed(?=  )"), "COLOR_ERROR"),
)


def width() -> int:
    """Ansible takes 79 columns where there is no terminal."""
    return min(Display().columns or PLAIN, WIDEST)


def show(text: str) -> None:
    """The page, if there is something on it; a log file (log_path) gets it without colours."""
    if text:
        Display().display("\n" + "\n".join(map(coloured, shown.page(text).split("\n"))) + "\n", screen_only=True)
        Display().display(f"\n{shown.page(text)}\n", log_only=True)


def coloured(line: str) -> str:
    for words, colour in COLOURS:
        line = words.sub(partial(_in_colour, vars(constants)[colour]), line, count=1)
    return line


def _in_colour(colour: str, found: re.Match[str]) -> str:
    return str(stringc(found[0], colour))
