"""Sums on a plan's page, each as a bar with its legend: memory, one optimizer step, the wall-clock and its dollars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from compiler.render import charts, figures, words
from schemas.plan import RunPlan

__all__ = ["Part", "both", "clock", "memory", "step"]

# Pixels of each chart's two forms: half of a wide page, and a telephone held upright.
_WIDE: Final = 540.0
_SMALL: Final = 328.0
_LEAST_USED: Final = 0.1
"""Of the devices' memory: a bar of a smaller share would show nothing of its parts."""


def both(draw: Callable[[float], Markup]) -> Markup:
    """A chart for wide and one for narrow windows; the style shows the one that fits, with letters of one size."""
    return draw(_WIDE) + Markup("\n") + draw(_SMALL)


@dataclass(frozen=True, slots=True)
class Part:
    """A row of a legend: its colour, name, meaning, value and share of the sum."""

    colour: str
    name: str
    help: str
    value: float
    share: float


def _parts(parts: Mapping[str, float], most: int = charts.COLOURS) -> list[tuple[str, float]]:
    return figures.largest_parts(parts, most=most, least_share=0.002)


def _legend(ranked: Sequence[tuple[str, float]]) -> list[Part]:
    total = sum(value for _, value in ranked)
    return [
        Part(charts.colour(index, name), words.part_word(name), words.PART_HELP.get(name, ""), value, value / total)
        for index, (name, value) in enumerate(ranked)
    ]


def memory(plan: RunPlan) -> dict[str, Any]:
    """Bytes of one device at its fullest moment."""
    estimate, room = plan.estimate, plan.hardware.memory_bytes
    ranked = _parts(estimate.memory_parts)
    is_tiny = estimate.peak_memory_bytes < _LEAST_USED * room
    whole = float(sum(estimate.memory_parts.values()) if is_tiny else max(room, estimate.peak_memory_bytes_high))
    marks = {f"device {figures.gigabytes(room)}": float(room)} if whole > room else {}
    title = f"{figures.gigabytes(estimate.peak_memory_bytes)} of {figures.gigabytes(room)}"
    bar = both(lambda width: charts.parts_bar(ranked, figures.gigabytes, whole, marks, width, title))
    return {"bar": bar, "legend": _legend(ranked), "used": estimate.peak_memory_bytes / max(room, 1)}


def step(plan: RunPlan) -> dict[str, Any]:
    """Seconds of one optimizer step."""
    ranked = _parts(plan.estimate.step_parts)
    total = sum(value for _, value in ranked) or 1.0
    title = f"one optimizer step takes {_duration(total)}"
    return {
        "bar": both(lambda width: charts.parts_bar(ranked, _duration, total, {}, width, title)),
        "legend": _legend(ranked),
        "seconds": total,
    }


def _duration(seconds: float) -> str:
    return figures.hours(seconds / 3600)


def clock(plan: RunPlan) -> dict[str, Any]:
    """Wall-clock and dollars by part."""
    estimate = plan.estimate
    ranked = _parts(estimate.time_parts)
    total = sum(value for _, value in ranked) or 1.0
    money = sum(estimate.usd_parts.values())
    bar = both(
        lambda width: charts.parts_bar(ranked, _duration, total, {}, width, f"{_duration(total)} from start to end")
    )
    rows = [
        (part, words.usd_of(name, ranked, estimate.usd_parts))
        for part, (name, _) in zip(_legend(ranked), ranked, strict=True)
    ]
    return {"bar": bar, "rows": rows, "seconds": total, "usd": money}
