# SPDX-License-Identifier: Apache-2.0
"""index.html: one page that opens from a file, asks no network and runs no code but its own.

Every text goes through Jinja's escaping. The policy in its head lets run only the script and the style that are hashed
there, and load only pictures that are in the page itself.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...module_utils.system import files
from ...module_utils.system.digests import sha256
from . import notes, table
from .cards import Card, cards
from .pictures import PagePictures
from .plots import plots
from .shape import Comparison, Evaluation, Measure, Scalar, Subject, Work
from .summary import Collected, best, interval_of
from .words import LANGUAGES, word

TEMPLATES = Path(__file__).resolve().parents[3] / "roles" / "evaluation" / "templates" / "report"
LIMIT = 10_000_000  # bytes of the page
HEAD = 400_000  # bytes of it for all but cards and plots, about
TEXT = 4_000_000  # bytes of the cards' texts
WORKS, SETTINGS, WORD = 30, 40, 200  # subjects whose work is shown; of each the settings, and their letters
FILTERS = ("all", "right", "wrong", "unparsed", "changed")
TRENDS = ("all", "lower", "higher")


def page(folder: str, data: Collected, made: Evaluation) -> str:
    """The whole page, about LIMIT bytes at most. `folder`: where the collected pictures lie."""
    drawn = plots(made)
    rows = _fitting(cards(folder, data, made, _in_gallery(made)), TEXT)
    while True:
        text = _filled(folder, made, rows, drawn)
        if len(text.encode()) <= LIMIT or not rows:
            return text
        rows = rows[: len(rows) // 2]


def _filled(folder: str, made: Evaluation, rows: Sequence[Card], drawn: Sequence[Any]) -> str:
    room = LIMIT - HEAD - sum(one.size for one in rows) - sum(len(one.light) + len(one.dark) for one in drawn)
    by_rank = sorted(rows, key=lambda card: card.rank)
    paths = list(dict.fromkeys(path for card in by_rank for path in card.pictures))
    pictures = PagePictures(paths, room)
    style, script = (_source(name) for name in ("page.css", "page.js"))
    values = {
        "made": made,
        "base": _named(made, "base"),
        "best": best(made.subjects),
        "cards": rows,
        "pictures": pictures,
        "plots": drawn,
        "style": Markup(style),  # noqa: S704 - ours, and no host's
        "script": Markup(script),  # noqa: S704
        "policy": _policy(style, script),
        "headlines": _headlines(made),
        "notes": [*_said(made), *_left_out(folder, made, rows, pictures)],
        "filters": _filters(rows, made),
        "works": _works(made.subjects),
    }
    return _environment().get_template("page.html.j2").render(values)


@cache
def _environment() -> Environment:
    made = Environment(
        autoescape=True,
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": table.percent,
        "number": table.number,
        "p": table.p_value,
    }
    made.globals |= {
        "t": _both,
        "name_of": _name_of,
        "difference": _difference,
        "value_of": _value_of,
        "gib": lambda size: f"{size / 2**30:.1f} GiB",
    }
    return made


def _source(name: str) -> str:
    return files.read(TEMPLATES / name).decode()


def _policy(style: str, script: str) -> str:
    style_hash, script_hash = (base64.b64encode(bytes.fromhex(sha256(one))).decode() for one in (style, script))
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _both(key: str, **values: object) -> Markup:
    """A label in both languages; the style shows one of them."""
    return _spans(*(word(key, at, **values) for at in range(len(LANGUAGES))))


def _spans(english: object, chinese: object) -> Markup:
    return Markup('<span lang="en">{}</span><span lang="zh">{}</span>').format(english, chinese)


def _named(made: Evaluation, name: str) -> Subject | None:
    return next((one for one in made.subjects if one.name == name), None)


def _name_of(subject: str) -> Markup:
    """A subject in words."""
    step, _dash, merged = subject.partition("-")
    return _both("base") if subject == "base" else _both("merged" if merged else "step", step=table.name(step))


def _in_gallery(made: Evaluation) -> list[str]:
    """The base, and the subject that the page is about."""
    chosen = best(made.subjects)
    names = ["base"] if _named(made, "base") else []
    return [*names, chosen.name] if chosen else names


def _fitting(rows: Sequence[Card], room: int) -> list[Card]:
    """The first rows whose texts fit."""
    kept = []
    for card in rows:
        room -= card.size
        if room < 0:
            break
        kept.append(card)
    return kept


def _headlines(made: Evaluation) -> list[Comparison]:
    """Base against the subject that the page is about."""
    chosen = best(made.subjects)
    return [one for one in made.comparisons if chosen and (one.first, one.second) == ("base", chosen.name)]


def _difference(one: Comparison) -> Markup:
    """Its difference with the interval."""
    found = one.difference
    form = table.form_of_points if one.measure == "accuracy" else table.form_of(found)
    unit = Markup(" ") + _both("points") if one.measure == "accuracy" else ""
    between = ""
    if found.low is not None and found.high is not None:
        between = Markup(" <small>({} {} {})</small>").format(form(found.low), _both("to"), form(found.high))
    return Markup("{}{}{}").format(form(found.value), unit, between)


def _value_of(subject: Subject, measure: Measure) -> str:
    """A subject's value alone."""
    found = interval_of(subject, measure)
    if found is None:
        return table.NONE
    return f"{100 * found.value:.1f} %" if measure == "accuracy" else table.number(found)


def _said(made: Evaluation) -> list[Markup]:
    said = []
    if any(one.answers for one in made.subjects):
        said.append(_both("chance", chance=f"{100 * made.chance:.0f} %"))
    if made.visible and made.visible.gain is not None:
        one = made.visible
        gain, of, power = f"{100 * made.visible.gain:.0f}", f"{100 * one.of:.0f} %", f"{100 * one.power:.0f} %"
        said.append(_both("visible", rows=one.rows, gain=gain, of=of, power=power))
    return said + [_spans(*(notes.text(one, at) for at in range(len(LANGUAGES)))) for one in made.notes]


def _left_out(folder: str, made: Evaluation, rows: Sequence[Card], pictures: PagePictures) -> list[Markup]:
    """What the page lacks of what was collected."""
    place, limit = Path(folder).name, LIMIT // 1_000_000
    said = []
    if any(card.pictures for card in rows):
        said.append(_both("pictures_small", side=pictures.side, folder=place))
    if pictures.dropped:
        said.append(_both("pictures_dropped", number=pictures.dropped, limit=limit, folder=place))
    if len(rows) < made.rows:
        said.append(_both("rows_dropped", number=made.rows - len(rows), limit=limit))
    shown = _in_gallery(made)
    if others := [table.name(one.name) for one in made.subjects if one.answers and one.name not in shown]:
        name, chosen = table.name(shown[-1]), ", ".join(others)
        said.append(_both("subjects_left", name=name, others=chosen, folder=place))
    return said


def _filters(rows: Sequence[Card], made: Evaluation) -> Mapping[str, int]:
    """What may be chosen, with the number of rows."""
    judged = any(card.state for card in rows)
    tests = {
        "all": lambda card: True,
        "right": lambda card: card.state == "right",
        "wrong": lambda card: card.state == "wrong",
        "unparsed": lambda card: card.state == "unparsed",
        "changed": lambda card: bool(card.change),
        "lower": lambda card: card.trend == "lower",
        "higher": lambda card: card.trend == "higher",
    }
    return {name: sum(map(tests[name], rows)) for name in (FILTERS if judged else TRENDS)}


def _works(subjects: Sequence[Subject]) -> list[tuple[str, str, Work]]:
    """Subject, kind of work (a key of words.py), and how it was done; of the last subjects, where there are many."""
    found = []
    for one in (*subjects[:1], *subjects[1:][-WORKS:]):
        found += [(one.name, "work_answers", one.answers.work)] if one.answers else []
        found += [(one.name, "work_loss", one.loss.work)] if one.loss else []
    return [(name, kind, replace(work, settings=_few(work.settings))) for name, kind, work in found]


def _few(settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """So many as an evaluation has: a host may send thousands."""
    first = list(settings.items())[:SETTINGS]
    return {key[:WORD]: value[:WORD] if isinstance(value, str) else value for key, value in first}
