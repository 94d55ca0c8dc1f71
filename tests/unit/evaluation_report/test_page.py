"""The page: what it says, that it needs nothing beside it, that hostile texts stay texts, and its size."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.wire import (
    AnswerRow,
    LossRow,
    Part,
    Picture,
    QuestionRow,
    Text,
)
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report import (
    notes,
    page,
    plots,
    summary,
    table,
    words,
)
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report.shape import Evaluation
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report.summary import Collected
from PIL import Image

from tests.unit.support import evaluations

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}\x1b[31m\u202e\x00$x_1^2$"
LETTERS = "ABCD"


class Reader(HTMLParser):
    """Elements, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def html(folder: Path, data: Collected, made: Evaluation) -> str:
    return page.page(str(folder), data, made)


def test_the_same_folder_gives_the_same_page(folder: Path, data: Collected, made: Evaluation, html: str) -> None:
    assert page.page(str(folder), data, made) == html


def test_it_needs_nothing_beside_it(html: str) -> None:
    seen = Reader(html)
    places = [one[name] for _tag, one in seen.elements for name in ("src", "href", "srcset", "action") if name in one]
    assert len(places) > 20
    assert all(place.startswith(("data:image/webp;base64,", "data:image/svg+xml;base64,", "#")) for place in places)
    assert seen.all("link") == seen.all("iframe") == []


def test_its_policy_lets_run_its_own_script_and_style_alone(html: str) -> None:
    (policy,) = [one["content"] for one in Reader(html).all("meta") if one.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_no_element_has_a_handler_or_a_style_of_its_own(html: str) -> None:
    names = {name for _tag, one in Reader(html).elements for name in one}
    assert {name for name in names if name.startswith("on") or name == "style"} == set()


def test_every_label_is_there_in_both_languages(html: str) -> None:
    english, chinese = (re.findall(rf'<span lang="{one}">(.*?)</span>', html) for one in words.LANGUAGES)
    assert len(english) == len(chinese) > 50
    assert {"Numbers", "became right", "Evaluation"} <= set(english)
    assert {"数值", "变对", "评测"} <= set(chinese)


@pytest.mark.parametrize("texts", [words.WORDS, notes.TEXTS], ids=["labels", "notes"])
def test_both_languages_name_the_same_values(texts: dict[str, tuple[str, str]]) -> None:
    for english, chinese in texts.values():
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", chinese))
        assert english
        assert chinese


def test_numbers_and_filters_are_those_of_the_rows(html: str, made: Evaluation) -> None:
    seen = Reader(html)
    cards = [one for one in seen.all("article") if one.get("class") == "card"]
    assert len(cards) == made.rows
    right = sum(one.letters["0001530"] == one.answer for one in made.outcomes)
    assert sum(one["data-state"] == "right" for one in cards) == right
    gained = sum((a := one.answer) == one.letters["0001530"] and a != one.letters["base"] for one in made.outcomes)
    assert sum(one["data-change"] == "gained" for one in cards) == gained > 0
    assert [one["value"] for one in seen.all("input")] == list(page.FILTERS)


def test_an_interval_has_the_decimals_that_the_table_gives_it(html: str, made: Evaluation) -> None:
    losses = [one.difference for one in made.comparisons if one.measure != "accuracy"]
    assert losses
    texts = [text.strip() for text in Reader(html).texts]
    for found in losses:
        value, low, high = re.findall(r"[+−][\d.]+", table.signed(found))
        assert any(text.startswith(value) for text in texts)
        assert {f"({low}", f"{high})"} <= set(texts)


def test_losses_alone_make_a_page_with_other_filters(tmp_path: Path) -> None:
    evaluations.write(tmp_path / "data", 3, {"base": 0.3, "0000040": 0.9}, answers=False)
    data = summary.collected(str(tmp_path / "data"))
    seen = Reader(page.page(str(tmp_path / "data"), data, summary.evaluation("atlas", data)))
    assert [one["value"] for one in seen.all("input")] == list(page.TRENDS)
    assert {one["data-trend"] for one in seen.all("article") if one.get("class") == "card"} == {"lower"}
    assert "accuracy" not in [one for text in seen.texts for one in text.split() if one == "Wilson"]


def test_an_empty_evaluation_makes_a_page(tmp_path: Path) -> None:
    evaluations.place(tmp_path, "base", "answers", 0)
    data = summary.collected(str(tmp_path))
    assert "</html>" in page.page(str(tmp_path), data, summary.evaluation("atlas", data))


def hostile(folder: Path) -> Collected:
    """One row, with the hostile text wherever a host may say one."""
    (folder / "rows").mkdir(parents=True)
    parts: tuple[Part, ...] = (Text("text", HOSTILE), Picture("image", "00000-q1.png", 9, 9))
    evaluations.put(folder / "rows/rows.jsonl", [QuestionRow(0, HOSTILE, "A", parts, parts)])
    names = ("weights_file", "device", "version", "started", "ended", "code_commit", "weights_digest")
    words_of_host = {**dict.fromkeys(names, HOSTILE), "settings": {HOSTILE: HOSTILE}}
    for subject in ("base", "0000040"):
        where = evaluations.place(folder, subject, "answers", 1, **words_of_host)
        evaluations.put(where.rows, [AnswerRow(0, None, parts, 1, 0, 1.0, HOSTILE)])
    (folder / "losses.csv").write_text("step,time,$x_1^2$<b>,steps_per_second\n1,x,1,1\n2,x,2,1\n")
    return summary.collected(str(folder))


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    data = hostile(tmp_path)
    text = page.page(str(tmp_path), data, summary.evaluation(HOSTILE, data))
    seen = Reader(text)
    assert len(seen.all("script")) == 1
    assert [one for one in seen.all("img") if one.get("src", "data:")[:5] != "data:"] == []
    assert not {name for _tag, one in seen.elements for name in one if name.startswith("on")}
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "{{ 7 * 7 }}" in text, "nobody fills it in"
    assert sum(HOSTILE[:20] in one for one in seen.texts) > 10, "and they are shown"


def test_no_text_of_a_host_is_drawn(tmp_path: Path) -> None:
    made = summary.evaluation("atlas", hostile(tmp_path))
    drawn = [base64.b64decode(one.light.partition(",")[2]).decode() for one in plots.plots(made)]
    assert drawn
    assert all("x_1" not in one and "script" not in one for one in drawn)


def test_a_plot_is_drawn_for_light_and_dark_and_is_the_same_each_time(made: Evaluation) -> None:
    first, second = plots.plots(made), plots.plots(made)
    assert first == second
    assert [(one.what, one.name) for one in first] == [
        ("plot_accuracy", ""), ("plot_ce", ""), ("plot_mse", ""), ("plot_curve", "ce"), ("plot_curve", "mse"),
    ]  # fmt: skip
    for one in first:
        light, dark = (base64.b64decode(uri.partition(",")[2]).decode() for uri in (one.light, one.dark))
        assert plots.LIGHT.text in light
        assert plots.DARK.text in dark
        assert "<script" not in light


def large(folder: Path, rows: int, pictures: int, text: str) -> None:
    """Rows with so many pictures that nothing makes small, and such texts."""
    places = folder / "rows/pictures", folder / "base/answers/pictures"
    pixels = np.random.default_rng(1).integers(0, 255, (520, 520, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG", compress_level=0)
    first = folder / "picture.png"
    where = evaluations.place(folder, "base", "answers", rows)
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    first.write_bytes(out.getvalue())
    questions, answers = [], []
    for row in range(rows):
        names = [f"{row:05d}-q{number}.png" for number in range(pictures)]
        for name in names:
            (places[0] / name).hardlink_to(first)
        parts = (Text("text", text), *(Picture("image", name, 520, 520) for name in names))
        questions.append(QuestionRow(row, str(row), "A", parts, ()))
        answers.append(AnswerRow(row, LETTERS[row % 3 % 2], (Text("text", text),), 9, 0, 1.0))
    evaluations.put(folder / "rows/rows.jsonl", list(questions))
    evaluations.put(where.rows, list(answers))


def rendered(folder: Path) -> str:
    data = summary.collected(str(folder))
    return page.page(str(folder), data, summary.evaluation("atlas", data))


def test_three_hundred_rows_with_five_large_pictures_each_keep_below_ten_megabytes(tmp_path: Path) -> None:
    large(tmp_path, 300, 5, "One cube moves. " * 10)
    text = rendered(tmp_path)
    assert 3_000_000 < len(text.encode()) <= 10_000_000
    shown = len(re.findall(r'<img src="data:image/webp', text))
    assert shown == 1500 or f"{1500 - shown} pictures are left out" in text
    assert shown > 1000
    assert len(re.findall(r'class="card"', text)) == 300
    assert re.search(r"Pictures are at most \d+ pixels wide", text)


def test_texts_alone_cannot_make_it_larger(tmp_path: Path) -> None:
    large(tmp_path, 300, 0, "<汉&" * 20_000)
    text = rendered(tmp_path)
    assert len(text.encode()) <= 10_000_000
    kept = len(re.findall(r'class="card"', text))
    assert f"{300 - kept} rows are left out of the gallery" in text
    assert "text is cut here" in text


def test_a_page_that_came_out_too_large_is_made_of_fewer_rows(
    folder: Path, data: Collected, made: Evaluation, html: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "LIMIT", len(html.encode()) - 1000)
    monkeypatch.setattr(page, "HEAD", -10_000_000)
    text = page.page(str(folder), data, replace(made))
    assert len(text.encode()) <= page.LIMIT
    assert len(re.findall(r'class="card"', text)) == 3


def test_settings_without_end_make_a_page_all_the_same(tmp_path: Path) -> None:
    """Every about.json within its bounds, and together more than a page: this went on for ever."""
    about = {f"k{number}": "<b>" * 60 for number in range(250)}
    for step in range(60):
        where = evaluations.place(tmp_path, f"{step:07d}", "loss", 1, settings=about)
        evaluations.put(where.rows, [LossRow(0, 1.0, 1.0, 1, 1)])
    assert len(rendered(tmp_path)) < page.LIMIT
