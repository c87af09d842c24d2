"""What the run amounts to: exact tokens, FLOPs, the loss that the law expects, and the choices that were not made."""

from __future__ import annotations

import math
from collections.abc import Iterator

from compiler.draft import Draft
from compiler.estimate.law.optimum import Market, Unreachable
from compiler.estimate.law.scaling_law import Point, ScalingLaw, inference_flops, train_flops
from compiler.passes.images import images_budget
from compiler.passes.targets import objective_of
from schemas.diagnostics import Diagnostic, Severity
from schemas.plan import BudgetPlan, ChoicePlan
from schemas.units import format_count, format_tokens

__all__ = ["budget"]

_NEAR = 0.02
"""A limit that the plan comes this close to is the one that binds: whole layers and batches keep it from being met exactly."""

_INDISTINCT = 0.02
"""A target loss this close above the irreducible one is a guess."""

_LEAST = 1e-9
"""Above the irreducible loss: steep laws get so close that a float sees no difference."""

_SNAP = 0.05
"""Whole dimensions may miss a size by this much."""


def budget(draft: Draft) -> Draft:
    """Note the budget without the dollars of a lifetime, as `unpriced`: those need the estimate, which needs the tokens."""
    if draft.is_classifier:
        return images_budget(draft)
    said, targets = draft.recipe.budget, draft.targets
    n, tokens, market, known = draft.model.num_parameters, draft.batch.total_tokens, targets.market, targets.known
    draft = _check_limits(draft.find(*_warnings(draft)))
    served = said.inference.total_tokens if said.inference else 0
    loss = market.loss(n, tokens)
    fresh = known.law.loss(n, tokens)
    optimum = targets.found.point if targets.found else Point(n, tokens, loss)
    free = _free(draft)
    low, high = known.fit.interval(n, tokens) if known.fit else (None, None)
    unique = market.limits.unique_tokens
    section = BudgetPlan(
        tokens=tokens,
        train_flops=train_flops(n, tokens),
        objective=objective_of(said),
        inference_tokens=served,
        inference_flops=inference_flops(n, served),
        inference_usd=targets.rates.inference_usd(n),
        serving=targets.serving,
        effective_inference_tokens=market.served,
        lifetime_flops=train_flops(n, tokens) + inference_flops(n, served),
        lifetime_usd=0.0,
        loss=loss,
        loss_low=low,
        loss_high=high,
        scaling_law=known.law.name,
        law=known.plan,
        extrapolated=not known.law.covers(n, tokens),
        optimal_parameters=round(optimum.parameters),
        optimal_tokens=round(optimum.tokens),
        optimal_loss=optimum.loss,
        snapped_loss_delta=_given_up(draft, loss),
        binding=_binding(draft),
        unconstrained=_choice(free, served) if free else None,
        tokens_per_parameter=tokens / n,
        unique_tokens=round(unique) if math.isfinite(unique) else None,
        epochs=tokens / unique,
        repetition_loss=loss - fresh,
        chinchilla=_choice(known.law.chinchilla_from_loss(max(loss, known.law.e + _LEAST)), served),
        max_cost_usd=said.max_cost,
        max_seconds=said.max_hours,
        max_gpus=said.max_gpus,
    )
    return draft.note("unpriced", section)


def _choice(point: Point, served: float) -> ChoicePlan:
    training = train_flops(point.parameters, point.tokens)
    return ChoicePlan(
        parameters=round(point.parameters),
        tokens=round(point.tokens),
        loss=point.loss,
        train_flops=training,
        lifetime_flops=training + inference_flops(point.parameters, served),
        lifetime_usd=0.0,
    )


def _free(draft: Draft) -> Point | None:
    """The optimum without limits and with fresh data, where that is another one."""
    targets = draft.targets
    if targets.aim is None or targets.found is None:
        return None
    free = Market(targets.market.law, targets.market.served).best(targets.aim.goal, targets.aim.value)
    return free if abs(math.log(free.parameters / targets.found.point.parameters)) > 1e-6 else None


def _given_up(draft: Draft, loss: float) -> float:
    """Loss against the continuous optimum that costs as much over its life and keeps the same limits."""
    market, n, tokens = draft.targets.market, draft.model.num_parameters, draft.batch.total_tokens
    try:
        best = market.best_within("lifetime", market.lifetime(n, tokens)).point
    except Unreachable:  # whole dimensions put the model just outside of a limit
        return 0.0
    return max(0.0, loss - best.loss)


def _binding(draft: Draft) -> str:
    """The limits that moved the optimum, or that the plan touches because the recipe fixes its model."""
    found, limits = draft.targets.found, draft.targets.market.limits
    if found is not None and found.binding:
        return found.binding
    n, tokens = draft.model.num_parameters, draft.batch.total_tokens
    touched = [
        name
        for name, value, limit in (
            ("unique_tokens", tokens, limits.most_tokens),
            ("max_tokens_per_parameter", tokens / n, limits.max_tokens_per_parameter),
        )
        if value > limit * (1 - _NEAR) and draft.targets.aim is not None and draft.targets.aim.goal != "tokens"
    ]
    return " and ".join(touched)


def _warnings(draft: Draft) -> Iterator[Diagnostic]:
    """Where the law is stretched past its data: by the ratio, from random weights; by the size where it chose or was aimed at."""
    law, aim, n = draft.targets.known.law, draft.targets.aim, draft.model.num_parameters
    ratio = draft.batch.total_tokens / n
    if draft.beginning is None and ratio > law.most_tokens_per_parameter:
        yield draft.diagnostic(
            "RC303",
            f"{ratio:.0f} tokens per parameter is beyond the {law.most_tokens_per_parameter:.0f} of the law's data",
            "budget",
            reason=f"the loss of the law `{law.name}` promises too much there",
            help=f"{format_tokens(law.most_tokens_per_parameter * n)} would stay within it; the run itself is fine",
            severity=Severity.WARNING,
        )
    refused = any(finding.code == "RC301" for finding in draft.findings)
    asked = not refused and (draft.recipe.model.size == "auto" or (aim is not None and aim.goal == "loss"))
    if asked and not law.covers_size(n):
        yield _beyond_the_fit(draft, law, n)
    if aim is not None and aim.goal == "loss" and 0 < aim.value - law.e < _INDISTINCT:
        yield draft.diagnostic(
            "RC303",
            f"a loss of {aim.value:g} is within {_INDISTINCT:g} of the irreducible {law.e:.4g}",
            "budget",
            aim.key,
            reason="there the answer rests on digits that no fit has",
            help=f"target_loss: {law.e + 0.1:.2f}",
            severity=Severity.WARNING,
        )


def _beyond_the_fit(draft: Draft, law: ScalingLaw, n: int) -> Diagnostic:
    larger = n > law.most_parameters
    edge = law.most_parameters if larger else law.least_parameters
    more = (
        "add such runs to the fit"
        if law.name == "fit"
        else "a fit of your own runs is closer: `scaling_law: {fit: runs.csv}`"
    )
    return draft.diagnostic(
        "RC303",
        f"{format_count(n)} parameters are {'above' if larger else 'below'} the {format_count(edge)} of the law's data",
        "budget",
        reason=f"the law `{law.name}` was fitted on {format_count(law.least_parameters)} to"
        f" {format_count(law.most_parameters)} parameters: loss and optimum are rough",
        help=f"{more}; the run itself is fine",
        severity=Severity.WARNING,
    )


def _check_limits(draft: Draft) -> Draft:
    """Findings where the model that was built, or what the recipe fixes, breaks the constraints."""
    limits, n = draft.recipe.budget.constraints, draft.model.num_parameters
    if any(finding.code == "RC301" for finding in draft.findings):
        return draft
    slack = _SNAP if draft.recipe.model.size == "auto" else 0.0
    for key, limit, broken in (
        ("max_parameters", limits.max_parameters, n > (limits.max_parameters or n) * (1 + slack)),
        ("min_parameters", limits.min_parameters, n < (limits.min_parameters or n) * (1 - slack)),
    ):
        if broken and limit is not None:
            draft = draft.find(
                draft.diagnostic(
                    "RC301",
                    f"the model has {format_count(n)} parameters, and `{key}` is {format_count(limit)}",
                    "budget",
                    "constraints",
                    key,
                    help=f"{key}: {n}",
                )
            )
    return _check_tokens(draft)


def _check_tokens(draft: Draft) -> Draft:
    """The same for the length of the training."""
    market, n, tokens = draft.targets.market, draft.model.num_parameters, draft.batch.total_tokens
    limits = market.limits
    caps = {"unique_tokens": limits.most_tokens, "max_tokens_per_parameter": limits.max_tokens_per_parameter * n}
    key = min(caps, key=lambda name: caps[name])
    most = caps[key]
    if tokens <= most * (1 + _SNAP / 5):
        return draft
    return draft.find(
        draft.diagnostic(
            "RC301",
            f"{format_count(n)} parameters on {format_tokens(tokens)}: `{key}` allows {format_tokens(most)},"
            f" for a loss of {market.loss(n, most):.4g}",
            "budget",
            "constraints",
            key,
            help=f"{key}: {tokens / limits.max_epochs:.0f}"
            if key == "unique_tokens"
            else f"{key}: {tokens / n * 1.01:.4g}",
        )
    )
