# SPDX-License-Identifier: Apache-2.0
"""Plots as SVG by matplotlib, each in a light and a dark dress. No text of a host is drawn, only numbers and steps."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .shape import CHANCE, Curve, Evaluation, Interval, Measure
from .summary import best, interval_of
from .table import name as shorter

SIZE = (4.4, 2.5)  # inches of 72 points
MOST = 12  # names below an axis; more are thinned out


@dataclass(frozen=True)
class Dress:
    """Colours of a plot: of text, of the grid, of lines, of what the page is about, of a reference."""

    text: str
    grid: str
    line: str
    accent: str
    reference: str


LIGHT = Dress("#33404d", "#dde3e9", "#5b7083", "#0b6bcb", "#b3541e")
DARK = Dress("#c9d3dd", "#333f4b", "#8fa5b8", "#6cb6ff", "#f0a36b")


@dataclass(frozen=True)
class Plot:
    """`what`: a key of words.py, `name`: of a loss of the training. Both pictures are data URIs."""

    what: str
    name: str
    light: str
    dark: str


def plots(made: Evaluation) -> list[Plot]:
    """Those that have something to show, in the order of the page."""
    found = []
    for measure in ("accuracy", "ce", "mse"):
        values = [(one.name, interval) for one in made.subjects if (interval := interval_of(one, measure))]
        if values:
            chosen = best(made.subjects)
            found.append(_dressed(f"plot_{measure}", "", _by_subject(measure, values, chosen.name if chosen else "")))
    return found + [_dressed("plot_curve", one.name, _curve(one)) for one in made.curves if len(one.steps) > 1]


def _dressed(what: str, name: str, draw: Callable[[Any, Dress], None]) -> Plot:
    return Plot(what, name, *(_svg(draw, dress) for dress in (LIGHT, DARK)))


def _svg(draw: Callable[[Any, Dress], None], dress: Dress) -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",  # the browser's own letters
        "svg.hashsalt": "canvas-fleet",  # the same bytes each time
        "font.family": "sans-serif",
        "font.size": 9,
        "text.parse_math": False,
        "text.color": dress.text,
        "axes.edgecolor": dress.grid,
        "axes.labelcolor": dress.text,
        "xtick.color": dress.text,
        "ytick.color": dress.text,
    }
    with rc_context(settings):
        figure = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.grid(axis="y", color=dress.grid, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
        draw(axes, dress)
        out = io.BytesIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(out.getvalue()).decode()


def _curve(curve: Curve) -> Callable[[Any, Dress], None]:
    def draw(axes: Any, dress: Dress) -> None:
        axes.plot(curve.steps, curve.values, color=dress.accent, linewidth=1.4)
        axes.margins(x=0.01)

    return draw


def _by_subject(measure: Measure, values: Sequence[tuple[str, Interval]], chosen: str) -> Callable[[Any, Dress], None]:
    """A point with its interval for each subject."""
    factor = 100 if measure == "accuracy" else 1

    def draw(axes: Any, dress: Dress) -> None:
        for at, (name, one) in enumerate(values):
            colour = dress.accent if name == chosen else dress.line
            if one.low is not None and one.high is not None:
                axes.vlines(at, factor * one.low, factor * one.high, color=colour, linewidth=2.2)
            axes.plot(at, factor * one.value, "o", color=colour, markersize=7)
        step = -(-len(values) // MOST)
        names = [shorter(name) if not at % step else "" for at, (name, _one) in enumerate(values)]
        axes.set_xticks(range(len(values)), names)
        axes.set_xlim(-0.6, len(values) - 0.4)
        if measure == "accuracy":
            axes.axhline(100 * CHANCE, color=dress.reference, linewidth=1.2, linestyle=(0, (4, 3)))
            axes.set_ylim(0, 100)
        else:
            axes.set_ylim(bottom=0)

    return draw
