"""The key figures at the top of a plan's page: what is trained, on how much, in which time, for how many dollars."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.render import figures, words
from schemas.plan import RunPlan

__all__ = ["Tile", "tiles"]


@dataclass(frozen=True, slots=True)
class Tile:
    """A key figure: what, how much, how sure, and the place in the plan whose provenance it has."""

    label: str
    value: str
    note: str
    path: str


def _classifier_tiles(plan: RunPlan) -> list[Tile]:
    """What is trained, on how many images."""
    model, budget = plan.resnet, plan.budget
    size, name = figures.figure(model.num_parameters), f"{model.family}-{model.depth}"
    return [
        Tile("model", size, f"{name}, {model.num_classes:,} classes", "model.num_parameters"),
        Tile("images", figures.figure(budget.tokens), f"{figures.flops(6.0 * model.macs)} each", "budget.tokens"),
    ]


def _decoder_tiles(plan: RunPlan) -> list[Tile]:
    """What is trained, on how many tokens, and the loss that the law expects of it."""
    model, budget = plan.decoder, plan.law_budget
    spread = (
        figures.between(budget.loss_low, budget.loss_high, lambda value: f"{value:.3f}")
        if budget.loss_low is not None and budget.loss_high is not None
        else f"law {budget.scaling_law}"
    )
    size, per = figures.figure(model.num_parameters), f"{figures.figure(budget.tokens_per_parameter)} per parameter"
    loss, note = "not known", f"the law says nothing of {words.silence(plan)}"
    if not plan.is_law_silent:
        loss, note = f"{plan.promise.loss:.3f}", spread
    return [
        Tile("model", size, f"{model.family}, {model.num_layers} layers", "model.num_parameters"),
        Tile("tokens", figures.figure(budget.tokens), per, "budget.tokens"),
        Tile("expected loss", loss, note, "budget.loss"),
    ]


def tiles(plan: RunPlan) -> list[Tile]:
    """Model and data first; dollars where there are prices."""
    budget, estimate = plan.budget, plan.estimate
    found = [
        *(_classifier_tiles(plan) if plan.is_classifier else _decoder_tiles(plan)),
        Tile(
            f"memory of a {words.unit_word(plan)}",
            figures.gigabytes(estimate.peak_memory_bytes),
            f"of {figures.gigabytes(plan.hardware.memory_bytes)}",
            "estimate.peak_memory_bytes",
        ),
        Tile(
            "time",
            figures.hours(estimate.hours),
            figures.between(estimate.hours_low, estimate.hours_high, figures.hours),
            "estimate.hours",
        ),
    ]
    if estimate.usd:
        spread = figures.between(estimate.usd_low, estimate.usd_high, figures.usd)
        found.append(Tile("training", figures.usd(estimate.usd), spread, "estimate.usd"))
    if budget.inference_tokens and estimate.lifetime_usd:
        served = f"{figures.figure(budget.inference_tokens)} tokens served"
        found.append(Tile("whole life", figures.usd(estimate.lifetime_usd), served, "estimate.lifetime_usd"))
    carbon = f"{figures.mass(estimate.co2e_kg)} CO₂e"
    found.append(Tile("energy", figures.work(estimate.energy_kwh), carbon, "estimate.energy_kwh"))
    return found
