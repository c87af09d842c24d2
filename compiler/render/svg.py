"""A small drawing kit for charts: scales with ticks, and SVG elements whose colours are classes of the page's style.

No style attributes and no scripts: the page's security policy lets neither pass. Text is escaped by markupsafe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

__all__ = ["Area", "Scale", "axes", "drawing", "element", "marker", "path", "text"]

Number = Callable[[float], str]
_LARGEST_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


def element(tag: str, body: Markup | str = "", /, **attributes: object) -> Markup:
    """One element; `class_` is `class`, `_` in names is `-`, floats have one decimal."""
    parts = [
        Markup(' {}="{}"').format(
            name.rstrip("_").replace("_", "-"), f"{value:.1f}" if isinstance(value, float) else value
        )
        for name, value in attributes.items()
    ]
    return Markup("<{0}{1}>{2}</{0}>").format(tag, Markup("").join(parts), body)


def text(x: float, y: float, words: str, class_: str = "tick", anchor: str = "start", **more: object) -> Markup:
    """A line of text; the anchor is start, middle or end."""
    return element("text", escape(words), x=float(x), y=float(y), class_=class_, text_anchor=anchor, **more)


def path(points: Sequence[tuple[float, float]], class_: str, *, closed: bool = False, title: str = "") -> Markup:
    """A line through points, or the area inside of it; nothing for fewer than two."""
    if len(points) < 2:
        return Markup("")
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return element(
        "path", element("title", title) if title else "", d=f"M{steps}{'Z' if closed else ''}", class_=class_
    )


def marker(kind: str, x: float, y: float, title: str) -> Markup:
    """A point: `plan` is a disc, `optimum` a diamond, `free` a triangle, `chinchilla` a square; told apart without colours."""
    label = element("title", title)
    match kind:
        case "plan":
            return element("circle", label, cx=float(x), cy=float(y), r=6, class_="mark plan")
        case "optimum":
            return element("path", label, d=f"M{x:.1f} {y - 8:.1f}l8 8l-8 8l-8-8Z", class_="mark optimum")
        case "free":
            return element("path", label, d=f"M{x:.1f} {y - 7:.1f}l7 13h-14Z", class_="mark free")
    return element("rect", label, x=x - 5.5, y=y - 5.5, width=11, height=11, class_="mark chinchilla")


def drawing(width: float, height: float, title: str, body: Sequence[Markup], class_: str) -> Markup:
    """The whole picture, with a name for those who can't see it."""
    return element(
        "svg",
        Markup("\n").join([element("title", title), *body]),
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        height=f"{height:g}",
        role="img",
        aria_label=title,
        class_=class_,
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to pixels.

    Args:
        low, high: ends of the domain.
        first, last: their pixels; `first` may be the larger one, as on a vertical axis.
        log: whether equal ratios take equal lengths.
    """

    low: float
    high: float
    first: float
    last: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value; values outside are put on the edge."""
        value = min(max(value, self.low), self.high)
        share = (
            math.log(value / self.low) / math.log(self.high / self.low)
            if self.log
            else (value - self.low) / (self.high - self.low)
        )
        return self.first + share * (self.last - self.first)

    def holds(self, value: float) -> bool:
        """Whether a value lies in the domain."""
        return self.low <= value <= self.high

    def ticks(self, most: int = 6) -> list[float]:
        """Round values in the domain, at most about `most`."""
        return self._log_ticks(most) if self.log else self._linear_ticks(most)

    def _linear_ticks(self, most: int) -> list[float]:
        span = self.high - self.low
        scale = 10.0 ** math.floor(math.log10(span / most))
        step = next(scale * factor for factor in _LARGEST_STEPS if span / (scale * factor) <= most)
        first = math.ceil(self.low / step - 1e-9)
        return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _log_ticks(self, most: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        found: list[float] = []
        for factors in ((1, 2, 5), (1, 3), (1,)):
            found = [
                factor * 10.0**power
                for power in range(first, last + 1)
                for factor in factors
                if self.holds(factor * 10.0**power)
            ]
            if len(found) <= most:
                return found
        return found[:: math.ceil(len(found) / most)]


@dataclass(frozen=True, slots=True)
class Area:
    """The inner rectangle of a chart, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


def axes(area: Area, x: Scale, y: Scale, x_name: str, y_name: str, show_x: Number, show_y: Number) -> list[Markup]:
    """Grid lines, ticks with their values, names of both axes."""
    parts = []
    most = 6 if area.right - area.left > 380 else 4
    for value in y.ticks(5):
        at = y(value)
        parts.append(element("line", x1=float(area.left), x2=float(area.right), y1=at, y2=at, class_="grid"))
        parts.append(text(area.left - 7, at + 4, show_y(value), anchor="end"))
    for value in x.ticks(most):
        at = x(value)
        parts.append(element("line", x1=at, x2=at, y1=float(area.bottom), y2=area.bottom + 4, class_="grid"))
        parts.append(text(at, area.bottom + 18, show_x(value), anchor="middle"))
    parts.append(
        element(
            "line",
            x1=float(area.left),
            x2=float(area.right),
            y1=float(area.bottom),
            y2=float(area.bottom),
            class_="axis",
        )
    )
    parts.append(text((area.left + area.right) / 2, area.bottom + 38, x_name, "name", "middle"))
    parts.append(text(area.left - 46, area.top - 12, y_name, "name"))
    return parts
