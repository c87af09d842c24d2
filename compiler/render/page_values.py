"""What the page of a plan says, ready for its template: key figures, charts with their numbers, tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from compiler.job.readme import source_origin
from compiler.mixing.stretches import stretches
from compiler.pipeline import Compiled
from compiler.render import accounting, charts, curricula, curves, draws, figures, mixture, sequence, words
from compiler.render.choices import choices
from compiler.render.origins import line_of
from compiler.render.svg import marker
from compiler.render.visible import clean
from schemas.diagnostics import Diagnostic
from schemas.plan import HOLDS_DEVICES, RunPlan

__all__ = ["page_values"]

# Pixels of each chart's two forms: half of a wide page, and a telephone held upright.
_WIDE: Final = 540.0
_SMALL: Final = 328.0
_CURVE_ROWS: Final = 12
_MOST_OF_A_KIND: Final = 6
_MOST_BESIDE: Final = 9
_LEAST_USED: Final = 0.1


def page_values(result: Compiled) -> dict[str, Any]:
    """Names that the template uses, but for those of the page itself.

    Raises:
        DiagnosticsError: the recipe has errors, so there is no plan.
    """
    plan = result.expect()
    return {
        "plan": plan,
        "tiles": _tiles(plan),
        "findings": [_finding(finding, result) for finding in result.findings],
        "unit": words.unit_word(plan),
        "layout": words.layout(plan),
        "price": words.price(plan),
        "limits": words.limits(plan),
        "law": _law(plan),
        "memory": _memory(plan),
        "step": _step(plan),
        "clock": _clock(plan),
        "techniques": [
            (one.kind, words.when(one.window, plan.budget.tokens, figures.figure)) for one in plan.algorithms
        ],
        "added": accounting.added(plan),
        "saved": list(accounting.saved(plan)),
        "assumption": accounting.assumption(plan),
        "data": _data(plan),
        "steps": _steps(plan),
        "runs": sequence.rows(plan) if plan.totals is not None else [],
        "run_notes": [*sequence.teaching(plan), *sequence.limits(plan)],
    }


@dataclass(frozen=True, slots=True)
class _Tile:
    """A key figure: what, how much, how sure, and the place in the plan whose provenance it has."""

    label: str
    value: str
    note: str
    path: str


def _classifier_tiles(plan: RunPlan) -> list[_Tile]:
    """What is trained, on how many images."""
    model, budget = plan.resnet, plan.budget
    size, name = figures.figure(model.num_parameters), f"{model.family}-{model.depth}"
    return [
        _Tile("model", size, f"{name}, {model.num_classes:,} classes", "model.num_parameters"),
        _Tile("images", figures.figure(budget.tokens), f"{figures.flops(6.0 * model.macs)} each", "budget.tokens"),
    ]


def _decoder_tiles(plan: RunPlan) -> list[_Tile]:
    """What is trained, on how many tokens, and the loss that the law expects of it."""
    model, budget = plan.decoder, plan.law_budget
    silent = words.is_law_silent(plan)
    spread = (
        figures.between(budget.loss_low, budget.loss_high, lambda value: f"{value:.3f}")
        if budget.loss_low is not None and budget.loss_high is not None
        else f"law {budget.scaling_law}"
    )
    size, per = figures.figure(model.num_parameters), f"{figures.figure(budget.tokens_per_parameter)} per parameter"
    loss = "-" if silent else f"{budget.loss:.3f}"
    return [
        _Tile("model", size, f"{model.family}, {model.num_layers} layers", "model.num_parameters"),
        _Tile("tokens", figures.figure(budget.tokens), per, "budget.tokens"),
        _Tile("expected loss", loss, "beyond the law" if silent else spread, "budget.loss"),
    ]


def _tiles(plan: RunPlan) -> list[_Tile]:
    budget, estimate = plan.budget, plan.estimate
    tiles = [
        *(_classifier_tiles(plan) if plan.is_classifier else _decoder_tiles(plan)),
        _Tile(
            f"memory of a {words.unit_word(plan)}",
            figures.gigabytes(estimate.peak_memory_bytes),
            f"of {figures.gigabytes(plan.hardware.memory_bytes)}",
            "estimate.peak_memory_bytes",
        ),
        _Tile(
            "time",
            figures.hours(estimate.hours),
            figures.between(estimate.hours_low, estimate.hours_high, figures.hours),
            "estimate.hours",
        ),
    ]
    if estimate.usd:
        spread = figures.between(estimate.usd_low, estimate.usd_high, figures.usd)
        tiles.append(_Tile("training", figures.usd(estimate.usd), spread, "estimate.usd"))
    if budget.inference_tokens and estimate.lifetime_usd:
        served = f"{figures.figure(budget.inference_tokens)} tokens served"
        tiles.append(_Tile("whole life", figures.usd(estimate.lifetime_usd), served, "estimate.lifetime_usd"))
    carbon = f"{figures.mass(estimate.co2e_kg)} CO₂e"
    tiles.append(_Tile("energy", figures.work(estimate.energy_kwh), carbon, "estimate.energy_kwh"))
    return tiles


def _finding(finding: Diagnostic, result: Compiled) -> dict[str, str]:
    span = finding.span
    return {
        "severity": finding.severity.value,
        "code": finding.code,
        "message": clean(finding.message),
        "place": f"{clean(span.file)}:{span.line}" if span is not None else "",
        "line": line_of(result.spans, span.file, span.line) if span is not None else "",
        "help": clean(finding.help),
    }


def _both(draw: Callable[[float], Markup]) -> Markup:
    """A chart for wide and one for narrow windows; the style shows the one that fits, with letters of one size."""
    return draw(_WIDE) + Markup("\n") + draw(_SMALL)


def _law(plan: RunPlan) -> dict[str, Any] | None:
    """Charts and numbers of the scaling law; None where it says nothing."""
    if words.is_law_silent(plan):
        return None
    found = curves.life_curve(plan)
    picked = found[:: max(1, math.ceil(len(found) / _CURVE_ROWS))]
    in_dollars = charts.is_in_dollars(plan)
    return {
        "iso": _both(lambda width: charts.iso_loss_chart(plan, width)),
        "cost": _both(lambda width: charts.cost_chart(plan, width)),
        "choices": choices(plan),
        "key": lambda name: Markup(
            '<svg class="key" width="18" height="18" viewBox="0 0 18 18" aria-hidden="true">{}</svg>'
        ).format(marker(charts.MARKS[name], 9, 9, name)),
        "priced": plan.budget.lifetime_usd > 0,
        "in_dollars": in_dollars,
        "samples": picked,
    }


@dataclass(frozen=True, slots=True)
class _Part:
    """A row of a legend: its colour, name, meaning, value and share of the sum."""

    colour: str
    name: str
    help: str
    value: float
    share: float


def _parts(parts: Mapping[str, float], most: int = charts.COLOURS) -> list[tuple[str, float]]:
    return figures.largest_parts(parts, most=most, least_share=0.002)


def _legend(ranked: Sequence[tuple[str, float]]) -> list[_Part]:
    total = sum(value for _, value in ranked)
    return [
        _Part(charts.colour(index, name), words.part_word(name), words.PART_HELP.get(name, ""), value, value / total)
        for index, (name, value) in enumerate(ranked)
    ]


def _memory(plan: RunPlan) -> dict[str, Any]:
    estimate, room = plan.estimate, plan.hardware.memory_bytes
    ranked = _parts(estimate.memory_parts)
    # A bar of a hundredth of a large memory would show nothing of its parts.
    is_tiny = estimate.peak_memory_bytes < _LEAST_USED * room
    whole = float(sum(estimate.memory_parts.values()) if is_tiny else max(room, estimate.peak_memory_bytes_high))
    marks = {f"device {figures.gigabytes(room)}": float(room)} if whole > room else {}
    title = f"{figures.gigabytes(estimate.peak_memory_bytes)} of {figures.gigabytes(room)}"
    bar = _both(lambda width: charts.parts_bar(ranked, figures.gigabytes, whole, marks, width, title))
    return {"bar": bar, "legend": _legend(ranked), "used": estimate.peak_memory_bytes / max(room, 1)}


def _step(plan: RunPlan) -> dict[str, Any]:
    ranked = _parts(plan.estimate.step_parts)
    total = sum(value for _, value in ranked) or 1.0
    title = f"one optimizer step takes {_duration(total)}"
    return {
        "bar": _both(lambda width: charts.parts_bar(ranked, _duration, total, {}, width, title)),
        "legend": _legend(ranked),
        "seconds": total,
    }


def _duration(seconds: float) -> str:
    return figures.hours(seconds / 3600)


def _clock(plan: RunPlan) -> dict[str, Any]:
    """Wall-clock and dollars by part."""
    estimate = plan.estimate
    ranked = _parts(estimate.time_parts)
    total = sum(value for _, value in ranked) or 1.0
    money = sum(estimate.usd_parts.values())
    bar = _both(
        lambda width: charts.parts_bar(ranked, _duration, total, {}, width, f"{_duration(total)} from start to end")
    )
    rows = [
        (part, words.usd_of(name, ranked, estimate.usd_parts))
        for part, (name, _) in zip(_legend(ranked), ranked, strict=True)
    ]
    return {"bar": bar, "rows": rows, "seconds": total, "usd": money}


@dataclass(frozen=True, slots=True)
class _Row:
    """A step of the plan: its processes, seconds, dollars and what it waits for."""

    name: str
    processes: int
    seconds: float
    usd: float
    needs: str


def _steps(plan: RunPlan) -> list[_Row]:
    """A row a step; many of one kind come together. Devices are held from the first step that runs a model to the end."""
    kinds = [step.kind for step in plan.steps]
    per_second = plan.hardware.count * plan.hardware.usd_per_gpu_hour / 3600
    rows: list[_Row] = []
    for kind in dict.fromkeys(kinds):
        steps = [step for step in plan.steps if step.kind == kind]
        rate = per_second if kind in HOLDS_DEVICES else 0.0
        if len(steps) > _MOST_OF_A_KIND:
            seconds = sum(step.seconds for step in steps)
            name = f"{len(steps)} × {kind}"
            rows.append(_Row(name, steps[0].devices, seconds, seconds * rate, "one after the other"))
            continue
        for step in steps:
            needs = ", ".join(step.inputs) if len(step.inputs) <= 3 else f"{len(step.inputs)} steps"
            name = f"{kind} {step.source}" if step.source else kind
            rows.append(_Row(name, step.devices, step.seconds, step.seconds * rate, needs))
    return rows


class _SourceRow(NamedTuple):
    """A source over the run; `shares` are words, one a stretch of the mixture."""

    colour: str
    name: str
    place: str
    tokens: int
    share: float
    epochs: str
    shares: list[str]


def _data(plan: RunPlan) -> dict[str, Any]:
    found = stretches(plan)
    rows = [
        _SourceRow(
            mixture.source_colour(index, len(plan.data.sources)),
            name,
            clean(source_origin(plan.data.sources[name])),
            tokens,
            tokens / plan.budget.tokens,
            draws.epochs_word(plan, name),
            [draws.share_word(stretch, name) for stretch in found],
        )
        for index, (name, tokens) in enumerate(mixture.ranked_sources(plan))
    ]
    return {
        "chart": _both(lambda width: mixture.mixture_chart(plan, width)),
        "rows": rows,
        "beside": rows[:_MOST_BESIDE],
        "stretches": found,
        "has_epochs": any(row.epochs for row in rows),
        "read_up": draws.read_up(plan),
        "curricula": [said.line for said in curricula.curricula(plan)],
        "competence": _both(lambda width: curricula.competence_chart(plan, width)) if plan.data.curricula else "",
    }
