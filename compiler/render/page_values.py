"""What the page of a plan says, ready for its template: key figures, charts with their numbers, tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from compiler.job.readme import source_origin
from compiler.mixing.stretches import stretches
from compiler.pipeline import Compiled
from compiler.render import accounting, charts, curricula, curves, draws, figures, mixture, sequence, words
from compiler.render.choices import choices
from compiler.render.origins import line_of
from compiler.render.page_parts import both, clock, memory, step
from compiler.render.page_tiles import tiles
from compiler.render.svg import marker
from compiler.render.visible import clean
from schemas.diagnostics import Diagnostic
from schemas.plan import HOLDS_DEVICES, RunPlan
from schemas.techniques import AnyAlgorithm

__all__ = ["page_values"]

_CURVE_ROWS: Final = 12
_MOST_OF_A_KIND: Final = 6
_MOST_BESIDE: Final = 9


def page_values(result: Compiled) -> dict[str, Any]:
    """Names that the template uses, but for those of the page itself.

    Raises:
        DiagnosticsError: the recipe has errors, so there is no plan.
    """
    plan = result.expect()
    return {
        "plan": plan,
        "tiles": tiles(plan),
        "findings": [_finding(finding, result) for finding in result.findings],
        "unit": words.unit_word(plan),
        "layout": words.layout(plan),
        "price": words.price(plan),
        "limits": words.limits(plan),
        "law": _law(plan),
        "memory": memory(plan),
        "step": step(plan),
        "clock": clock(plan),
        "techniques": [(one.kind, _when(one, plan)) for one in plan.algorithms],
        "added": accounting.added(plan),
        "saved": list(accounting.saved(plan)),
        "assumption": accounting.assumption(plan),
        "data": _data(plan),
        "steps": _steps(plan),
        "runs": sequence.rows(plan) if plan.totals is not None else [],
        "run_notes": [*sequence.teaching(plan), *sequence.limits(plan)],
    }


def _when(one: AnyAlgorithm, plan: RunPlan) -> str:
    return words.when(one.window, plan.budget.tokens, figures.figure, plan.counted)


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


def _law(plan: RunPlan) -> dict[str, Any] | None:
    """Charts and numbers of the scaling law; None where it says nothing."""
    if plan.is_law_silent:
        return None
    found = curves.life_curve(plan)
    picked = found[:: max(1, math.ceil(len(found) / _CURVE_ROWS))]
    in_dollars = charts.is_in_dollars(plan)
    return {
        "iso": both(lambda width: charts.iso_loss_chart(plan, width)),
        "cost": both(lambda width: charts.cost_chart(plan, width)),
        "choices": choices(plan),
        "key": lambda name: Markup(
            '<svg class="key" width="18" height="18" viewBox="0 0 18 18" aria-hidden="true">{}</svg>'
        ).format(marker(charts.MARKS[name], 9, 9, name)),
        "priced": plan.budget.lifetime_usd > 0,
        "in_dollars": in_dollars,
        "samples": picked,
    }


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
        for one in steps:
            needs = ", ".join(one.inputs) if len(one.inputs) <= 3 else f"{len(one.inputs)} steps"
            name = f"{kind} {one.source}" if one.source else kind
            rows.append(_Row(name, one.devices, one.seconds, one.seconds * rate, needs))
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
        "chart": both(lambda width: mixture.mixture_chart(plan, width)),
        "rows": rows,
        "beside": rows[:_MOST_BESIDE],
        "stretches": found,
        "has_epochs": any(row.epochs for row in rows),
        "read_up": draws.read_up(plan),
        "curricula": [said.line for said in curricula.curricula(plan)],
        "competence": both(lambda width: curricula.competence_chart(plan, width)) if plan.data.curricula else "",
    }
