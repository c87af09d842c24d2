"""Changes of a recipe that bring it within its limits. Each one is tried: the passes run over the changed recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from pydantic import ValidationError

from compiler.draft import Draft
from schemas.budget import Budget
from schemas.diagnostics import DiagnosticsError, Severity
from schemas.plan import BudgetPlan, PlainBudget
from schemas.recipe import Recipe
from schemas.training import Precision
from schemas.units import Time, format_count, format_seconds, format_tokens, format_usd

__all__ = ["Remedy", "Replan", "remedies"]

Replan = Callable[[Draft], Draft]
"""Runs all passes over a draft that has none of its sections yet."""

Worst = Callable[[Draft], float]
"""Above 1 a draft exceeds a limit of its recipe."""

_ROUNDS: Final = 5
# Aim a little below the limit, in logarithms: values are rounded to three digits, steps are whole.
_CLEAR: Final = -0.02
# Training FLOPs to a distance from the irreducible loss fall with about the sixth root (alpha beta / (alpha + beta)).
_LOSS_EXPONENT: Final = 0.17
# Targets that are written without a unit.
_NUMBERS: Final = ("target_loss", "tokens_per_parameter", "flops")
# Targets that say how long a model of a given size is trained, and keys that fix its shape.
_LENGTHS: Final = ("tokens", "tokens_per_parameter", "flops")
_DIMENSIONS: Final = ("hidden_size", "num_layers", "num_heads", "num_kv_heads", "intermediate_size")
_SMALLEST: Final = 1e5
# Losses closer than this are one.
_SAME_LOSS: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change that was tried and meets all limits.

    Args:
        text: the lines to write, with what comes of them.
        worse: nats more than before; where no law knows them, the share of the training that is given up.
        usd: dollars of the changed run.
    """

    text: str
    worse: float
    usd: float


@dataclass(frozen=True, slots=True)
class _Bench:
    """What every trial needs: the plan that exceeds its limits, where it began, and how to run the passes."""

    draft: Draft
    start: Draft
    replan: Replan
    worst: Worst

    def tried(self, recipe: Recipe) -> Draft | None:
        """The plan of a changed recipe; None where it has errors."""
        try:
            draft = self.replan(replace(self.start, recipe=recipe))
        except DiagnosticsError:
            return None
        return None if any(found.severity is Severity.ERROR for found in draft.findings) else draft

    def remedy(self, lines: str, draft: Draft) -> Remedy:
        """The words for a trial that meets the limits."""
        estimate = draft.sections["estimate"]
        text = f"{lines} takes {format_seconds(estimate.hours * 3600)}"
        if estimate.usd > 0:
            text += f" and {format_usd(estimate.usd)}"
        before, after = self.draft.budget, draft.budget
        old, new = _law_loss(before), _law_loss(after)
        if old is None or new is None:
            return Remedy(text, 1 - after.train_flops / before.train_flops, estimate.usd)
        if abs(new - old) >= _SAME_LOSS and not (self.draft.law_budget.extrapolated or draft.law_budget.extrapolated):
            text += f", loss {new:.3f} instead of {old:.3f}"
        return Remedy(text, new - old, estimate.usd)


def _law_loss(budget: PlainBudget) -> float | None:
    """What the scaling law expects of a run; None where it says nothing."""
    return budget.loss if isinstance(budget, BudgetPlan) else None


def remedies(draft: Draft, start: Draft, replan: Replan, worst: Worst) -> tuple[Remedy, ...]:
    """Changes that meet all limits, those that keep the loss first and the cheapest of them first."""
    bench = _Bench(draft, start, replan, worst)
    found = _changes(bench) or _on_fewer_devices(bench)
    return tuple(sorted(found, key=lambda r: (r.worse >= _SAME_LOSS, round(r.worse, 3), r.usd)))


def _changes(bench: _Bench) -> list[Remedy]:
    """Single changes that meet all limits."""
    ways = (_devices, _half_width, _amount, _smaller_model)
    return [remedy for way in ways if (remedy := way(bench)) is not None]


def _on_fewer_devices(bench: _Bench) -> list[Remedy]:
    """Where the devices are too many, and fewer alone would break another limit: fewer, and a second change."""
    recipe, hardware, most = bench.start.recipe, bench.draft.hardware, bench.draft.recipe.budget.max_gpus
    if most is None or hardware.count <= most:
        return []
    count = most if most < hardware.per_node else most // hardware.per_node * hardware.per_node
    fewer = recipe.model_copy(update={"hardware": recipe.hardware.model_copy(update={"count": count})})
    draft = bench.tried(fewer)
    if draft is None:
        return []
    second = replace(bench, draft=draft, start=replace(bench.start, recipe=fewer))
    return [replace(one, text=f"`hardware.count: {count}` with {one.text}") for one in _changes(second)]


def _devices(bench: _Bench) -> Remedy | None:
    """Another number of devices: more for hours, fewer for money or for their limit."""
    for count in _counts(bench):
        recipe = bench.start.recipe
        changed = recipe.model_copy(update={"hardware": recipe.hardware.model_copy(update={"count": count})})
        draft = bench.tried(changed)
        if draft is not None and bench.worst(draft) <= 1:
            return bench.remedy(f"`hardware.count: {count}`", draft)
    return None


def _counts(bench: _Bench) -> Iterator[int]:
    """Numbers of devices worth trying, in whole machines where they fill one."""
    hardware, budget = bench.draft.hardware, bench.draft.recipe.budget
    hours = bench.draft.sections["estimate"].hours * 3600
    most = budget.max_gpus or 1_000_000
    seen = {hardware.count}
    slow = budget.max_hours is not None and hours > budget.max_hours
    factor = hours / budget.max_hours if slow and budget.max_hours else 1.0
    for wanted in (factor * 1.05, factor * 1.5, factor * 3) if slow else (1.0, 0.5, 0.25):
        count = min(most, math.ceil(hardware.count * wanted) if slow else int(hardware.count * wanted))
        if count > hardware.per_node:
            whole = -(-count // hardware.per_node) if slow else count // hardware.per_node
            count = min(whole, most // hardware.per_node) * hardware.per_node
        if count >= 1 and count not in seen:
            seen.add(count)
            yield count


def _half_width(bench: _Bench) -> Remedy | None:
    """Matrix products in fp8, where the device has it."""
    if bench.draft.precision.compute not in ("bf16", "fp16") or "fp8" not in bench.draft.device.peak_flops:
        return None
    recipe = bench.start.recipe
    said = Precision(compute="fp8", reduce=recipe.precision.reduce)
    draft = bench.tried(recipe.model_copy(update={"precision": said}))
    return bench.remedy("`precision: fp8`", draft) if draft is not None and bench.worst(draft) <= 1 else None


def _amount(bench: _Bench) -> Remedy | None:
    """Less of what the budget asks for."""
    return _searched(bench, lambda scale: _scaled(bench, scale))


def _searched(bench: _Bench, change: Callable[[float], tuple[Recipe, str] | None]) -> Remedy | None:
    """The largest scale of a change that meets the limits, within a few per cent, by secants of logarithms.

    Startup and checkpoints don't shrink with the tokens, and a Chinchilla model's training grows with the square of its size.
    """
    slope, scale, ratio, found = 1.0, 0.0, math.log(bench.worst(bench.draft)), None
    for _ in range(_ROUNDS):
        step = (_CLEAR - ratio) / slope
        changed = change(math.exp(scale + step))
        draft = bench.tried(changed[0]) if changed else None
        if changed is None or draft is None:
            break
        before, ratio = ratio, math.log(max(bench.worst(draft), 1e-9))
        # A run that is all startup hardly reacts; one that overshoots is asked for less.
        slope, scale = min(4.0, max(0.25, (ratio - before) / step)) if step else slope, scale + step
        if ratio <= 0:
            found = bench.remedy(changed[1], draft)
            if ratio > 2 * _CLEAR:
                break
    return found


def _scaled(bench: _Bench, scale: float) -> tuple[Recipe, str] | None:
    """The recipe with its target scaled, and the line that says so; None where nothing can be scaled."""
    recipe = bench.start.recipe
    budget, duration = recipe.budget, recipe.training.duration
    if budget.target is None:
        if duration is None:
            return None
        shorter = Time(float(f"{duration.value * scale:.3g}"), duration.unit)
        training = recipe.training.model_copy(update={"duration": shorter})
        return recipe.model_copy(update={"training": training}), f"`training.duration: {shorter}`"
    value = getattr(budget, budget.target)
    write: dict[str, Callable[[], str]] = {
        "tokens": lambda: format_tokens(float(f"{value * scale:.3g}")),
        "match_chinchilla": lambda: format_count(float(f"{value * scale:.3g}")),
        "cost": lambda: f"${_three(value * scale)}",
        "lifetime_cost": lambda: f"${_three(value * scale)}",
        "time": lambda: f"{_three(value * scale)}s",
        "gpu_time": lambda: f"{_three(value * scale)}s",
        "target_loss": lambda: f"{_higher_loss(bench, value, scale):.3f}",
        "tokens_per_parameter": lambda: _three(value * scale),
        "flops": lambda: f"{value * scale:.3g}",
    }
    if budget.target not in write:
        return None
    text = write[budget.target]()
    # Read as a recipe would be, so that what was tried is what is written.
    read = float(text) if budget.target in _NUMBERS else text
    try:
        changed = getattr(Budget.model_validate({budget.target: read}), budget.target)
    except ValidationError:  # less than the key can say
        return None
    less = budget.model_copy(update={budget.target: changed})
    return recipe.model_copy(update={"budget": less}), f"`budget.{budget.target}: {text}`"


def _three(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{float(f'{value:.3g}'):.12g}"


def _higher_loss(bench: _Bench, loss: float, scale: float) -> float:
    """A loss that takes about `scale` of the training."""
    least = bench.draft.law_budget.law.e
    return math.ceil((least + (loss - least) * math.pow(scale, -_LOSS_EXPONENT)) * 1000) / 1000


def _smaller_model(bench: _Bench) -> Remedy | None:
    """A smaller model with the tokens that suit it, where the recipe gives a size that is too large for the limits."""
    recipe, budget = bench.start.recipe, bench.draft.budget
    is_free = isinstance(recipe.model.size, int) and not recipe.model.model_fields_set & set(_DIMENSIONS)
    if recipe.budget.target not in _LENGTHS or not is_free:
        return None

    def change(scale: float) -> tuple[Recipe, str] | None:
        best = bench.draft.targets.known.law.chinchilla_from_flops(budget.train_flops * scale)
        if not _SMALLEST <= best.parameters < bench.draft.model.num_parameters:
            return None
        size, tokens = int(float(f"{best.parameters:.3g}")), int(float(f"{best.tokens:.3g}"))
        model = recipe.model.model_copy(update={"size": size})
        changed = recipe.model_copy(
            update={
                "model": model,
                "budget": recipe.budget.model_copy(update={**dict.fromkeys(_LENGTHS), "tokens": tokens}),
            }
        )
        place = "" if recipe.budget.target == "tokens" else f" instead of `{recipe.budget.target}`"
        return changed, f"`model.size: {format_count(size)}` with `budget.tokens: {format_tokens(tokens)}`{place}"

    return _searched(bench, change)
