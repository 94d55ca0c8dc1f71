"""Pages at the terminal: Ansible's colours on what counts, none in a pipe, none in a log file."""

from __future__ import annotations

import pytest
from ansible.utils import color
from ansible_collections.canvas.fleet.plugins.plugin_utils import page

RED, YELLOW, GREEN, CYAN, PURPLE = "\x1b[0;31m", "\x1b[0;33m", "\x1b[0;32m", "\x1b[0;36m", "\x1b[1;35m"


@pytest.mark.parametrize(
    ("line", "painted"),
    [
        ("error    NO_GPU   host a", f"{RED}error    NO_GPU   host a\x1b[0m"),
        ("refused: a, because of NO_GPU", f"{RED}refused: a, because of NO_GPU\x1b[0m"),
        ("warning  CLOCK_OFF  host a", f"{PURPLE}warning  CLOCK_OFF  host a\x1b[0m"),
        ("accepted NO_GPU   a: x", f"{CYAN}accepted NO_GPU   a: x\x1b[0m"),
        ("  weights  will change  no files", f"  weights  {YELLOW}will change\x1b[0m  no files"),
        ("  weights  in sync      9 files", f"  weights  {GREEN}in sync\x1b[0m      9 files"),
        ("gpu-01  atlas  0  failed   35/60", f"gpu-01  atlas  0  {RED}failed\x1b[0m   35/60"),
        ("  found     an error was found", "  found     an error was found"),
        ("errors", "errors"),
    ],
)
def test_colours_are_ansibles_and_only_where_it_has_some(
    line: str, painted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(color, "ANSIBLE_COLOR", True)
    assert page.coloured(line) == painted
    monkeypatch.setattr(color, "ANSIBLE_COLOR", False)  # a pipe, NO_COLOR or ANSIBLE_NOCOLOR
    assert page.coloured(line) == line


def test_a_log_file_gets_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, str] = {}
    monkeypatch.setattr(color, "ANSIBLE_COLOR", True)
    monkeypatch.setattr(page.Display, "display", lambda self, text, **kinds: shown.update(dict.fromkeys(kinds, text)))
    page.show("error    NO_GPU   host \x1b[2J")
    assert shown["log_only"] == "\nerror    NO_GPU   host \\x1b[2J\n"
    assert shown["screen_only"] == f"\n{RED}error    NO_GPU   host \\x1b[2J\x1b[0m\n"


def test_an_empty_page_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page.Display, "display", lambda *_, **__: pytest.fail("nothing to say"))
    page.show("")


@pytest.mark.parametrize(("columns", "width"), [(79, 79), (119, 119), (400, 160), (None, 79)])
def test_a_page_is_as_wide_as_the_terminal(columns: int | None, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page.Display(), "columns", columns)
    assert page.width() == width
