"""The report of an evaluation in a real browser: alone, keyed, in two languages, light and dark, wide and narrow."""

from __future__ import annotations

import json
import re
from itertools import product
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import DESK, PHONE, View

STICKS_OUT = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"  # pixels
WAYS = list(product((PHONE, DESK), (False, True), ("en", "zh")))
# The ratio of luminances of each text that is seen and the first colour that is painted behind it.
CONTRAST = """
const channel = (c) => { c /= 255; return c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
const parts = (text) => text.match(/[\\d.]+/g).map(Number);
const behind = (one) => {
  for (let at = one; at; at = at.parentElement) {
    const found = parts(getComputedStyle(at).backgroundColor);
    if (found.length < 4 || found[3] > 0) return found;
  }
  return [255, 255, 255];
};
const poor = [];
for (const one of document.querySelectorAll("body *")) {
  const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !one.checkVisibility() || one.closest(".unseen, dialog, .skip")) continue;
  const style = getComputedStyle(one);
  const [a, b] = [light(parts(style.color)), light(behind(one))].sort((x, y) => y - x);
  const ratio = (a + .05) / (b + .05);
  const size = parseFloat(style.fontSize);
  if (ratio < 4.5 || size < 13) poor.push([one.textContent.trim().slice(0, 30), ratio, size]);
}
return poor;
"""


def keys(view: View, *pressed: str) -> None:
    view.driver.switch_to.active_element.send_keys(*pressed)


def visible_rows(view: View) -> list[str]:
    return [one.get_attribute("id") for one in view.all(".card") if one.is_displayed()]


def counted(view: View, name: str) -> int:
    return int(view.one(f"input[value={name}] + span b").text)


@pytest.mark.parametrize(("width", "dark", "language"), WAYS)
def test_it_is_readable_everywhere(view: View, width: int, dark: bool, language: str) -> None:
    view.open(width, dark, language)
    view.picture(f"{width}-{'dark' if dark else 'light'}-{language}")
    assert view.run(STICKS_OUT) == 0
    assert view.run(CONTRAST) == []
    low = "return [...document.querySelectorAll('button:not(.picture), .filters label > span')]"
    low += ".filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 39).length"
    assert view.run(low) == 0, "a finger hits it"
    assert view.shown(f".tile h2 span[lang={language}]") == 3
    assert view.shown(".tile h2 span") == 3, "one language at a time"
    view.run("document.querySelector('#gallery').scrollIntoView({behavior: 'instant'})")
    view.picture(f"{width}-{'dark' if dark else 'light'}-{language}-rows")


def test_it_opens_from_a_file_and_asks_for_nothing(view: View) -> None:
    view.open()
    assert [one["message"] for one in view.driver.get_log("browser")] == []
    messages = [json.loads(one["message"])["message"] for one in view.driver.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert [url for url in asked if url.startswith("file")] == [view.page.as_uri()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_picture_is_drawn(view: View, dark: bool) -> None:
    view.open(dark=dark)
    loaded = "return Promise.all([...document.querySelectorAll('main img')].map(async (one) => {"
    loaded += "one.loading = 'eager'; await one.decode(); return one.naturalWidth; }))"
    widths = view.run(loaded)
    assert len(widths) > 60
    assert all(width > 0 for width in widths)
    sources = view.run("return [...document.querySelectorAll('figure')].map((one) => "
                       "[one.querySelector('img').currentSrc === one.querySelector('source').srcset])")  # fmt: skip
    assert sources == [[dark]] * 5, "a plot has the colours of the page"


def test_it_speaks_two_languages(view: View) -> None:
    view.open()
    view.one("[data-language=zh]").click()
    assert view.run("return document.documentElement.lang") == "zh-Hans"
    assert view.one("main section h2").text == "正确率"
    assert [one.get_attribute("aria-pressed") for one in view.all("[data-language]")] == ["false", "true"]
    view.one("[data-language=en]").click()
    assert (view.run("return document.documentElement.lang"), view.shown("span[lang=zh]")) == ("en", 0)


@pytest.mark.parametrize("name", ["all", "right", "wrong", "unparsed", "changed"])
def test_a_filter_shows_its_rows(view: View, name: str) -> None:
    view.open()
    label = view.one(f"input[value={name}] + span")
    view.run("arguments[0].scrollIntoView({block: 'center'})", label)
    label.click()
    rows = visible_rows(view)
    assert len(rows) == counted(view, name) == int(view.one("#count").text)
    states = {one.get_attribute("data-state") for one in view.all(".card") if one.is_displayed()}
    assert name not in ("right", "wrong", "unparsed") or states <= {name}
    if name == "changed":
        changes = {one.get_attribute("data-change") for one in view.all(".card") if one.is_displayed()}
        assert changes <= {"gained", "lost"}
        assert rows


def test_all_of_it_works_by_keys(view: View) -> None:
    view.open()
    for _press in range(40):
        keys(view, Keys.TAB)
        if view.run("return document.activeElement.name") == "filter":
            break
    keys(view, Keys.ARROW_RIGHT)
    assert len(visible_rows(view)) == counted(view, "right")
    assert view.run("return document.activeElement.value") == "right"
    rows = visible_rows(view)
    for press, row in (("j", rows[0]), ("j", rows[1]), ("k", rows[0]), ("k", rows[0])):
        keys(view, press)
        assert view.run("return document.activeElement.id") == row
    for _press in range(4):
        keys(view, Keys.TAB)
        if view.run("return document.activeElement.className") == "picture":
            break
    keys(view, Keys.ENTER)
    assert view.run("return document.querySelector('dialog').open") is True
    assert view.run("return document.querySelector('dialog img').naturalWidth > 0") is True
    keys(view, Keys.ESCAPE)
    assert view.run("return document.querySelector('dialog').open") is False
    assert view.run("return document.activeElement.className") == "picture", "and one is where one was"


def test_without_its_script_every_row_is_there(view: View) -> None:
    view.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        view.open()
        assert view.shown(".card") == 12
        assert view.shown("span[lang=zh]") == 0
    finally:
        view.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


ATTACKS = {
    "a script": "const s = document.createElement('script'); s.text = 'window.hit = 1'; document.body.append(s);",
    "a handler": "document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"window.hit = 1\">');",
    "a link": "document.body.insertAdjacentHTML('beforeend', '<a id=a href=\"javascript:hit = 1\">'); a.click();",
    "a frame": "document.body.insertAdjacentHTML('beforeend', '<iframe srcdoc=\"<script>parent.hit = 1</script>\">');",
    "a style": "document.body.insertAdjacentHTML('beforeend', '<p id=p style=\"color: rgb(1, 2, 3)\">');"
               "window.hit = getComputedStyle(p).color === 'rgb(1, 2, 3)' ? 1 : undefined;",
    "a request": "fetch('http://127.0.0.1:9/').then(() => { window.hit = 1; }, () => {});",
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_its_policy_holds_in_the_browser(view: View, attack: str) -> None:
    """Even if a text came through as markup."""
    view.open()
    view.run(attack)
    view.driver.set_script_timeout(5)
    assert view.driver.execute_async_script("setTimeout(() => arguments[0](window.hit), 300)") is None
    said = " ".join(one["message"] for one in view.driver.get_log("browser"))
    assert re.search(r"Content Security Policy", said), "the browser refused it"


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_hostile_texts_do_nothing(hostile_view: View, width: int) -> None:
    hostile_view.open(width)
    assert hostile_view.run("return [document.scripts.length, document.querySelectorAll('[src=x]').length]") == [1, 0]
    assert [one["message"] for one in hostile_view.driver.get_log("browser")] == []
    assert hostile_view.run(STICKS_OUT) == 0
    heading: Any = hostile_view.one("h1").text
    assert heading.startswith("</script><script>alert(1)")
