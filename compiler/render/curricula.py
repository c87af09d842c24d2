"""The curricula of a plan as people see them: a line each, and the competence over the run as a curve."""

from __future__ import annotations

from typing import Final, NamedTuple

from markupsafe import Markup

from compiler.render import figures
from compiler.render.charts import frame, size_class
from compiler.render.svg import Area, Scale, axes, drawing, path
from schemas.curriculum import CurriculumPlan, competence
from schemas.plan import RunPlan

__all__ = ["Said", "competence_chart", "curricula"]

_POINTS: Final = 240
# A line says so many sources by name.
_MOST_NAMES: Final = 4


class Said(NamedTuple):
    """One curriculum with the sources that are read by it."""

    sources: str
    order: str
    pacing: str
    plan: CurriculumPlan

    @property
    def line(self) -> str:
        """All of it: `code, prose by mtld, easy to hard, sqrt from 1 % to all at 50k tokens`."""
        return f"{self.sources} {self.order}, {self.pacing}"


def curricula(plan: RunPlan) -> tuple[Said, ...]:
    """Each curriculum once, in the order of its first source."""
    found: dict[str, tuple[CurriculumPlan, list[str]]] = {}
    for name, said in plan.data.curricula.items():
        # Sources that are ranked together share one; equal ones of single sources read alike and may stand together too.
        found.setdefault(said.model_dump_json(), (said, []))[1].append(name)
    return tuple(_said(said, names, len(plan.data.sources)) for said, names in found.values())


def _said(said: CurriculumPlan, names: list[str], sources: int) -> Said:
    shown = ", ".join(names[:_MOST_NAMES]) + (f" and {len(names) - _MOST_NAMES} more" if names[_MOST_NAMES:] else "")
    who = "all sources" if len(names) == sources > 1 else shown
    together = " together" if said.scope == "mix" and len(names) > 1 else ""
    order = "in random order" if said.order == "random" else said.order.replace("_", " ")
    by = f"by {said.metric.replace('_', ' ')}, {order}"
    start, end = figures.percent(said.start), figures.figure(said.end_token)
    return Said(who + together, by, f"{_pacing(said)} from {start} to all at {end} tokens", said)


def _pacing(said: CurriculumPlan) -> str:
    """`sqrt`, `8 stages of 1.9 ×`, `4 steps`."""
    match said.pacing:
        case "root":
            return f"root of {said.power:g}"
        case "exponential":
            return f"{said.stages} stages of {said.growth:g} ×"
        case "two_stage":
            return "two stages"
        case "step":
            return f"{said.stages} steps"
    return said.pacing


def competence_chart(plan: RunPlan, width: float) -> Markup:
    """Share of the samples that may be drawn, over the run; a curve each curriculum, the first one strong."""
    area, height = frame(width)
    area = Area(area.left, 16, area.right, height - 50)
    x = Scale(0.0, float(plan.budget.tokens), area.left, area.right)
    y = Scale(0.0, 1.0, area.bottom, area.top)
    body = axes(area, x, y, plan.counted.many, "", figures.figure, lambda value: f"{value:.0%}".replace("%", " %"))
    tokens = [plan.budget.tokens * i / _POINTS for i in range(_POINTS + 1)]
    for index, said in enumerate(curricula(plan)):
        points = [(x(token), y(competence(said.plan, token))) for token in tokens]
        body.append(path(points, "curve thin" if index else "curve own", title=said.line))
    return drawing(width, height, "Share of the samples that may be drawn, over the run", body, size_class(width))
