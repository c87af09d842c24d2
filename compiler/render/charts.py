"""The page's charts: curves of the scaling law, bars of parts. Plans in, SVG out, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from markupsafe import Markup

from compiler.render import curves, figures, words
from compiler.render.choices import Life, choices
from compiler.render.svg import Area, Scale, axes, drawing, element, marker, path, text
from schemas.plan import RunPlan

__all__ = [
    "COLOURS",
    "MARKS",
    "colour",
    "cost_chart",
    "frame",
    "is_in_dollars",
    "iso_loss_chart",
    "parts_bar",
    "size_class",
]

COLOURS: Final = 8
"""Colours of the page's style that eyes of all kinds tell apart (Tol's bright scheme); what comes later is grey."""
# Past twice the plan's cost a curve says no more than that it rises.
_HIGHEST_COST: Final = 2.2
# Pixels that a loss beside its curve takes.
_LABEL: Final = 38
MARKS: Final = {"this plan": "plan", "optimum": "optimum", "no limits": "free", "Chinchilla": "chinchilla"}
"""Shapes of the choices."""


def frame(width: float) -> tuple[Area, float]:
    """Inner area and height of a chart of this width."""
    height = round(width * (0.62 if width > 400 else 0.8))
    return Area(58, 34, width - 14, height - 50), height


def iso_loss_chart(plan: RunPlan, width: float) -> Markup:
    """Models and data of the plan's loss, and of some losses around it; the choices stand on their curve."""
    area, height = frame(width)
    shown = curves.domain(plan)
    x = Scale(shown.least_parameters, shown.most_parameters, area.left, area.right, log=True)
    y = Scale(shown.least_tokens, shown.most_tokens, area.bottom, area.top, log=True)
    parts = axes(area, x, y, "parameters", "tokens", figures.figure, figures.figure)
    own = [(x(n), y(d)) for n, d in curves.iso_loss(plan)]
    labels, taken = [], [own[0][0]] if own else []
    for loss in curves.neighbours(plan):
        points = [(x(n), y(d)) for n, d in curves.iso_loss(plan, loss)]
        parts.append(path(points, "curve thin", title=f"loss {loss:.2f}"))
        if points and all(abs(points[0][0] - other) > _LABEL for other in taken):
            taken.append(points[0][0])
            labels.append(_beside(points, f"{loss:.2f}", "tick halo"))
    parts.append(path([(x(n), y(d)) for n, d in curves.chinchilla_ray(plan)], "curve ray", title="Chinchilla's ratio"))
    parts.append(path(own, "curve own", title=f"loss {plan.promise.loss:.3f}"))
    labels += [_beside(own, f"{plan.promise.loss:.3f}", "own halo")] if own else []
    parts += labels
    for choice in reversed(choices(plan)):
        said = f"{choice.name}: {figures.figure(choice.parameters)} on {figures.figure(choice.tokens)} tokens"
        parts.append(marker(MARKS[choice.name], x(choice.parameters), y(choice.tokens), said))
    title = f"Models and tokens that reach a loss of {plan.promise.loss:.3f}, and the choices on that curve"
    return drawing(width, height, title, parts, size_class(width))


def _beside(points: Sequence[tuple[float, float]], words: str, class_: str) -> Markup:
    """Words to the right of a falling curve's upper end."""
    left, top = points[0]
    low = next((x for x, y in points if y > top + 12), left)
    return text(low + 4, top + 10, words, class_)


def size_class(width: float) -> str:
    """Class of a chart of this width."""
    return "chart wide" if width > 400 else "chart small"


def cost_chart(plan: RunPlan, width: float) -> Markup:
    """What a model of each size takes over its life at the plan's loss: serving on top of training, in the budget's unit."""
    area, height = frame(width)
    found, in_dollars = curves.life_curve(plan), is_in_dollars(plan)

    def whole(life: Life) -> float:
        return life.usd if in_dollars else life.flops

    def training(life: Life) -> float:
        return life.training_usd if in_dollars else life.training_flops

    chosen = choices(plan)
    top, domain = _HIGHEST_COST * whole(chosen[0].life), curves.domain(plan)
    x = Scale(domain.least_parameters, domain.most_parameters, area.left, area.right, log=True)
    y = Scale(0.0, top, area.bottom, area.top)
    name = "dollars over its life" if in_dollars else "FLOPs over its life"
    parts = axes(area, x, y, "parameters", name, figures.figure, _round_usd if in_dollars else _exponent)
    floor = [(x(sample.parameters), y(0.0)) for sample in found]
    lower = [(x(sample.parameters), y(training(sample.life))) for sample in found]
    upper = [(x(sample.parameters), y(whole(sample.life))) for sample in found]
    within = [point for point, sample in zip(upper, found, strict=True) if whole(sample.life) <= top]
    parts.append(path([*lower, *reversed(floor)], "area c0", closed=True, title="training"))
    if plan.budget.inference_tokens:
        parts.append(path([*upper, *reversed(lower)], "area c1", closed=True, title="serving"))
    parts.append(path(within, "curve own", title="training and serving"))
    show = figures.usd if in_dollars else figures.flops
    for choice in reversed(chosen):
        cost = whole(choice.life)
        if cost <= top:
            said = f"{choice.name}: {show(cost)} over its life"
            parts.append(marker(MARKS[choice.name], x(choice.parameters), y(cost), said))
    return drawing(
        width, height, "Cost over its life against the size of the model, at one loss", parts, size_class(width)
    )


def is_in_dollars(plan: RunPlan) -> bool:
    """Whether the budget counts dollars, and there are prices to count with."""
    return plan.law_budget.objective == "dollars" and plan.estimate.usd + plan.budget.inference_usd > 0


def _round_usd(value: float) -> str:
    return figures.usd(value).removesuffix(".00")


def _exponent(value: float) -> str:
    return figures.flops(value).removesuffix(" FLOP")


def parts_bar(
    parts: Sequence[tuple[str, float]],
    show: Callable[[float], str],
    whole: float,
    marks: Mapping[str, float],
    width: float,
    title: str,
) -> Markup:
    """One bar of parts side by side.

    Args:
        parts: names and values, in the order of the colours.
        show: prints a value.
        whole: the value at the right end.
        marks: named values that get a line across the bar, such as a device's memory.
        width: pixels.
        title: for those who can't see it.
    """
    x, top = Scale(0.0, whole, 1.0, width - 1.0), 18.0 if marks else 2.0
    body, at = [element("rect", x=1.0, y=top, width=width - 2.0, height=34, class_="empty")], 0.0
    for index, (name, value) in enumerate(parts):
        said = f"{words.part_word(name)}: {show(value)}"
        left, right = x(at), x(at + value)
        body.append(
            element(
                "rect",
                element("title", said),
                x=left,
                y=top,
                width=max(right - left, 0.5),
                height=34,
                class_=f"segment {colour(index, name)}",
            )
        )
        at += value
    for name, value in marks.items():
        pixel = x(value)
        end = "end" if pixel > width * 0.6 else "start"
        body.append(element("line", x1=pixel, x2=pixel, y1=15.0, y2=top + 38, class_="limit"))
        body.append(text(pixel + (-4 if end == "end" else 4), 12, name, "tick", end))
    return drawing(width, top + 40, title, body, size_class(width))


def colour(index: int, name: str = "") -> str:
    """Class of a colour: by rank, grey for what is taken together."""
    return f"c{index}" if index < COLOURS and name != "other" else "rest"
