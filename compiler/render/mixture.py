"""The page's picture of the mixture: shares of the sources over the run, constant or moving."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from compiler.mixing.stretches import Stretch, stretches
from compiler.render import figures
from compiler.render.charts import COLOURS, colour, frame, size_class
from compiler.render.svg import Area, Scale, axes, drawing, element, path, text
from schemas.counted import Counted
from schemas.plan import RunPlan

__all__ = ["mixture_chart", "ranked_sources", "source_colour"]


class _Group(NamedTuple):
    """Sources that are drawn as one: a source of its own colour, or all that have none."""

    label: str
    rank: int
    members: tuple[str, ...]


def source_colour(rank: int, count: int) -> str:
    """Class of a source's colour by its rank among `count`: the last colour is left to none where some must share grey."""
    return colour(rank) if count <= COLOURS or rank < COLOURS - 1 else "rest"


def ranked_sources(plan: RunPlan) -> list[tuple[str, int]]:
    """Sources with their tokens, largest first."""
    drawn = {
        name: sum(phase.sources[name].tokens for phase in plan.data.phases if name in phase.sources)
        for name in plan.data.sources
    }
    return sorted(drawn.items(), key=lambda item: (-item[1], item[0]))


def mixture_chart(plan: RunPlan, width: float) -> Markup:
    """Shares of the sources over the run, stacked; a transition is one slope. Small sources beyond the colours come together."""
    area, height = frame(width)
    area = Area(area.left, 16, area.right, height - 50)
    names = [name for name, _ in ranked_sources(plan)]
    own = names if len(names) <= COLOURS else names[: COLOURS - 1]
    groups = [_Group(name, index, (name,)) for index, name in enumerate(own)]
    if others := tuple(names[len(own) :]):
        groups.append(_Group(f"{len(others)} other sources", COLOURS, others))
    x = Scale(0.0, float(plan.budget.tokens), area.left, area.right)
    y = Scale(0.0, 1.0, area.bottom, area.top)
    body = [shape for stretch in stretches(plan) for shape in _stacked(stretch, groups, plan.counted, x, y)]
    scale = axes(area, x, y, plan.counted.many, "", figures.figure, lambda value: f"{value:.0%}".replace("%", " %"))
    return drawing(width, height, "Shares of the sources over the run", [*scale, *body], size_class(width))


def _stacked(stretch: Stretch, groups: list[_Group], counted: Counted, x: Scale, y: Scale) -> list[Markup]:
    """One stretch: an area for each group, on top of the ones before it."""
    body: list[Markup] = []
    floor = [(token, 0.0) for token, _ in stretch.course("")]
    for group in groups:
        tokens = sum(stretch.tokens(name) for name in group.members)
        if not tokens:
            continue
        courses = [stretch.course(name) for name in group.members]
        top = [(at, low + sum(course[i][1] for course in courses)) for i, (at, low) in enumerate(floor)]
        span = stretch.end_token - stretch.start_token
        said = (
            f"{group.label}: {figures.percent(tokens / span)}, {figures.figure(tokens)} {counted.many}, from "
            f"{figures.figure(stretch.start_token)} to {figures.figure(stretch.end_token)}"
        ) + (f", {stretch.rule}" if stretch.rule else "")
        body += _shape(group, floor, top, said, x, y)
        floor = top
    return body


def _shape(
    group: _Group,
    floor: list[tuple[float, float]],
    top: list[tuple[float, float]],
    said: str,
    x: Scale,
    y: Scale,
) -> list[Markup]:
    """The area of a group between two courses, with its name where there is room for it."""
    style = f"segment {colour(group.rank)}"
    left, right = x(floor[0][0]), x(floor[-1][0])
    if len(floor) == 2:  # constant: both ends have the same share
        high, low = y(top[0][1]), y(floor[0][1])
        shape = {"x": left, "y": high, "width": max(right - left, 0.5), "height": max(low - high, 0.3)}
        found = [element("rect", element("title", said), class_=style, **shape)]
    else:
        points = [(x(at), y(share)) for at, share in (*top, *reversed(floor))]
        found = [path(points, style, closed=True, title=said)]
    middle = len(floor) // 2
    high, low = y(top[middle][1]), y(floor[middle][1])
    if right - left > 64 and low - high > 16 and group.rank < COLOURS:
        room, at = int((right - left - 12) / 7), left + 7 if len(floor) == 2 else x(floor[middle][0])
        word = group.label if len(group.label) <= room else group.label[: room - 1] + "…"
        found.append(text(at, (low + high) / 2 + 4, word, f"inside on-{colour(group.rank)}"))
    return found
