"""What each technique adds to the run, and what the model that it ships saves over its life."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from compiler.costing.site import known_site
from compiler.costing.times import costs_of
from compiler.draft import Draft
from compiler.estimate.convnet import memory_of, speed_of
from compiler.estimate.law.optimum import Goal, Market, Unreachable
from compiler.estimate.law.scaling_law import inference_flops, train_flops
from compiler.estimate.memory.peak import peak
from compiler.estimate.shipped import FORMAT_BITS, Form, served_in_form, written_share
from compiler.estimate.speed.predict import speed
from compiler.merge import Lowered
from compiler.passes.images import step_of
from compiler.passes.parallelism import workload
from compiler.passes.targets import objective_of
from compiler.provenance import Because, From, Reason
from schemas.fragment import Fragment
from schemas.plan import ChoicePlan, ServingPlan, ShippedPlan, TechniqueCost

__all__ = ["accounting", "form_of"]

_ADDS: Final = Reason(
    "the estimate with all techniques less the one without this, in the same layout and micro-batch; `interaction` is what they"
    " add together beside these"
)


@dataclass(frozen=True, slots=True)
class _Takes:
    """What the run takes with some of its techniques."""

    train_flops: float
    once_flops: float
    memory_bytes: int
    hours: float
    usd: float


def accounting(draft: Draft) -> Draft:
    """Fill `techniques` and `shipped`; nothing in them decides anything."""
    parts: tuple[Lowered, ...] = draft.sections["lowered"]
    none: Because = Reason("the recipe lists no technique")
    draft = draft.fill("techniques", _rows(draft, parts), {"": _ADDS if parts else none})
    shipped = _shipped(draft) if any(part.fragment.ships_smaller for part in parts) else None
    why: Because = Reason("no technique makes the finished model smaller")
    if shipped is not None:
        why = Reason(
            "reading a prompt goes with 2 N, writing with N x bits of a weight (Pope et al. 2022); single zeros save neither"
        )
    demand = From("budget.inference", "of the form that is served")
    return draft.fill(
        "shipped", shipped, {"": why, **({"inference_usd": demand, "dense_inference_usd": demand} if shipped else {})}
    )


def _rows(draft: Draft, parts: Sequence[Lowered]) -> tuple[TechniqueCost, ...]:
    """A row for each technique, and one for what they add together beside these."""
    if not parts:
        return ()
    whole, none = _taken(draft, parts), _taken(draft, ())
    rows = [_less(part.kind, whole, _taken(draft, [other for other in parts if other is not part])) for part in parts]
    if len(rows) > 1:
        together = _less("interaction", whole, none)
        rows.append(
            TechniqueCost(
                kind=together.kind,
                train_flops=together.train_flops - math.fsum(row.train_flops for row in rows),
                once_flops=together.once_flops - math.fsum(row.once_flops for row in rows),
                memory_bytes=together.memory_bytes - sum(row.memory_bytes for row in rows),
                hours=together.hours - math.fsum(row.hours for row in rows),
                usd=together.usd - math.fsum(row.usd for row in rows),
            )
        )
    return tuple(rows)


def _less(kind: str, whole: _Takes, without: _Takes) -> TechniqueCost:
    return TechniqueCost(
        kind=kind,
        train_flops=whole.train_flops - without.train_flops,
        once_flops=whole.once_flops - without.once_flops,
        memory_bytes=whole.memory_bytes - without.memory_bytes,
        hours=whole.hours - without.hours,
        usd=whole.usd - without.usd,
    )


def _taken(draft: Draft, parts: Sequence[Lowered]) -> _Takes:
    """The estimate of the run with these techniques alone, in the layout that was chosen with all of them."""
    fragments = tuple(part.fragment for part in parts)
    algorithms = tuple(algorithm for fragment in fragments for algorithm in fragment.algorithms)
    draft = replace(draft, sections={**draft.sections, "fragments": fragments, "algorithms": algorithms})
    mfu, microbatch = draft.recipe.hardware.mfu, draft.training.microbatch
    if draft.is_classifier:
        step = step_of(draft, microbatch)
        memory, seconds = memory_of(step).peak_bytes, sum(speed_of(step, mfu).seconds.values())
    else:
        w = workload(draft, layout=draft.parallelism, microbatch=microbatch)
        memory = peak(w).peak_bytes
        seconds = sum(speed(w, measured_mfu=mfu, site=known_site(draft)[1]).seconds.values())
    times = costs_of(draft, seconds).times
    return _Takes(
        train_flops=math.fsum(fragment.flops_per_token for fragment in fragments) * draft.budget.tokens,
        once_flops=math.fsum(fragment.once_flops_per_token for fragment in fragments) * _unique_tokens(draft),
        memory_bytes=memory,
        hours=times.total / 3600,
        usd=sum(times.held.values()) / 3600 * draft.hardware.count * draft.hardware.usd_per_gpu_hour,
    )


def _unique_tokens(draft: Draft) -> float:
    """Tokens of all sources, or what is drawn of those that don't say how many they have."""
    drawn: dict[str, int] = {}
    for phase in draft.data.phases:
        for name, share in phase.sources.items():
            drawn[name] = drawn.get(name, 0) + share.tokens
    return float(sum(source.tokens or drawn.get(name, 0) for name, source in draft.data.sources.items()))


def form_of(fragments: Sequence[Fragment], parameters: int, dense_bits: float) -> Form:
    """What all techniques together leave of a model.

    Args:
        fragments: of the techniques.
        parameters: of the model that is trained.
        dense_bits: of a weight of the export, where no technique rounds it.
    """
    kept = math.prod(f.shipped_parameters / parameters for f in fragments if f.shipped_parameters is not None)
    nonzero = math.prod(f.shipped_nonzero for f in fragments if f.shipped_nonzero is not None)
    bits = min((f.shipped_bits for f in fragments if f.shipped_bits is not None), default=dense_bits)
    return Form(float(kept), float(nonzero), bits)


def _shipped(draft: Draft) -> ShippedPlan:
    dense_bits = FORMAT_BITS[draft.recipe.checkpoints.export_dtype]
    n = draft.model.num_parameters
    form = form_of(draft.fragments, n, dense_bits)
    # 2 FLOPs for each multiply-add: of a language model each parameter once, of a network for images its convolutions.
    flops = 2.0 * draft.model.macs_per_token
    serving = None if draft.is_classifier else draft.targets.serving
    dense_usd = draft.budget.inference_usd
    usd = dense_usd
    if serving is not None:
        usd = served_in_form(draft.targets.rates, form, serving.precision).inference_usd(n)
    return ShippedPlan(
        num_parameters=round(form.parameters * n),
        nonzero=form.nonzero,
        bits_per_weight=form.bits,
        bytes=round(form.parameters * n * form.bits / 8),
        dense_bytes=round(n * dense_bits / 8),
        inference_flops_per_token=flops * form.parameters,
        dense_inference_flops_per_token=flops,
        inference_usd=usd,
        dense_inference_usd=dense_usd,
        written_share=written_share(form, serving.precision if serving else draft.recipe.checkpoints.export_dtype),
        optimum=_optimum(draft, form, serving),
        dense_optimum=_optimum(draft, Form(1.0, 1.0, FORMAT_BITS[serving.precision]), serving) if serving else None,
    )


def _optimum(draft: Draft, form: Form, serving: ServingPlan | None) -> ChoicePlan | None:
    """The model to train for the budget's target if it is served in a form; where the target is no scale, for the plan's loss.

    The law speaks of the trained model: what the form costs in loss is not in it. Lifetimes in FLOPs count 2 N a token, which
    bits don't change.
    """
    targets, served = draft.targets, draft.budget.inference_tokens
    if serving is None or not served:
        return None
    rates = served_in_form(targets.rates, form, serving.precision)
    dollars = objective_of(draft.recipe.budget) == "dollars" and draft.hardware.usd_per_gpu_hour > 0
    market = Market(
        targets.market.law, rates.effective_tokens if dollars else form.parameters * served, targets.market.limits
    )
    aim = targets.aim
    loss = draft.law_budget.loss
    if loss is None:  # the law knows no other model that is as good as this one
        return None
    goal: tuple[Goal, float] = ("loss", loss)
    if aim is not None and aim.goal != "tokens":  # tokens alone don't say how good: the cheapest model on them is none
        goal = (aim.goal, aim.value)
    try:
        found = market.best_within(*goal)
    except (Unreachable, ValueError):
        return None
    n, tokens = found.point.parameters, found.point.tokens
    training = train_flops(n, tokens)
    per_flop = draft.sections["estimate"].usd / draft.budget.train_flops
    return ChoicePlan(
        parameters=round(n),
        tokens=round(tokens),
        loss=found.point.loss,
        train_flops=training,
        lifetime_flops=training + inference_flops(form.parameters * n, served),
        lifetime_usd=training * per_flop + rates.inference_usd(n),
    )
