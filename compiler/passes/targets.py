"""What the budget asks for: parameters and tokens by the scaling law, before anything is rounded to what can be built."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compiler.budgeting.aim import ESTIMATED, Aim, aim_of, target_key
from compiler.budgeting.law import known_law
from compiler.budgeting.reach import choose, out_of_reach
from compiler.budgeting.serving import rates, serving
from compiler.draft import Draft
from compiler.estimate.law.optimum import Limits, Market, Within
from compiler.notes import Efforts, Targets
from compiler.passes.images import images_targets
from schemas.budget import Budget, BudgetObjective
from schemas.units import format_tokens, format_usd

__all__ = ["FALLBACK_PARAMETERS", "objective_of", "targets"]

FALLBACK_PARAMETERS: Final = 125_000_000
"""After an error about the size, later passes go on with this one, so that their findings come too."""

_FIRST_MFU: Final = 0.4
"""Share of the peak in the first round, before an estimate has been made: the middle of what is published, 0.2 to 0.6."""
_USUAL_EPOCHS: Final = 4.0
"""Muennighoff et al. 2023: up to four passes are worth nearly as much as fresh tokens."""
_SNAP: Final = 0.02
"""A layer more or less is about 4 % of a model, so that a size is met within 2 %: what a limit binds keeps this far from it."""

# Where only tokens per parameter are given, any size satisfies the budget.
_NO_SIZE: Final = (
    "`size: auto` needs a budget that says how good or how large:"
    " match_chinchilla, target_loss, flops, cost, time or tokens"
)


def targets(draft: Draft) -> Draft:
    """Fill the intermediate `targets`: wanted parameters (a hint where the recipe gives dimensions), tokens, prices."""
    if draft.is_classifier:
        return images_targets(draft)
    said = draft.recipe
    draft, known = known_law(draft)
    draft, served_by = serving(draft)
    efforts = _efforts(draft)
    # A measured MFU is the last word on the price of a FLOP, but for targets whose estimate has to come out right.
    estimated = target_key(draft) in ESTIMATED
    measured = said.hardware.mfu * draft.hardware.peak_flops if said.hardware.mfu and not estimated else None
    prices = rates(served_by, draft.hardware.usd_per_gpu_hour, measured or efforts.paid)
    draft, served = _served(draft, prices.effective_tokens)
    market = Market(known.law, served, _limits(draft))
    draft, aim = _checked(draft, market, aim_of(draft, known.law, efforts, prices.training_usd_per_flop))
    draft, found = _best(draft, market, aim)
    draft, wanted = _size(draft, aim, found)
    in_dollars = objective_of(said.budget) == "dollars" and served > 0
    return draft.note(
        "targets",
        Targets(
            parameters=wanted,
            known=known,
            market=market,
            aim=aim,
            found=found,
            serving=served_by,
            efforts=efforts,
            rates=prices,
            follows_estimate=(aim is not None and aim.key in ESTIMATED) or (in_dollars and measured is None),
        ),
    )


def _size(draft: Draft, aim: Aim | None, found: Within | None) -> tuple[Draft, float]:
    """Parameters wanted; 0 where nothing says it."""
    size = draft.recipe.model.size
    if isinstance(size, int):
        return draft, float(size)
    if found is not None:
        margin = _SNAP if found.binding.startswith("max_parameters") else -_SNAP if found.binding else 0.0
        return draft, found.point.parameters * (1 - margin)
    if size != "auto" or draft.recipe.model.hidden_size is not None:
        return draft, 0.0
    if aim is None:
        draft = draft.find(
            draft.diagnostic(
                "RC301", _NO_SIZE, "model", "size", help="budget: {match_chinchilla: 1B}   # for example"
            ).model_copy(update={"path": "budget"})  # said of `size`, but mended there: no echo of a wrong budget
        )
    return draft, float(FALLBACK_PARAMETERS)


def objective_of(budget: Budget) -> BudgetObjective:
    """What a lifetime costs: as said, dollars where money is the target, else FLOPs."""
    return budget.objective or ("dollars" if budget.lifetime_cost is not None else "flops")


def _efforts(draft: Draft) -> Efforts:
    """What a device gets done: as an earlier round's estimate found, or a first guess."""
    if draft.efforts is not None:
        return draft.efforts
    guess = (draft.recipe.hardware.mfu or _FIRST_MFU) * draft.hardware.peak_flops
    return Efforts(held=guess, paid=guess)


def _served(draft: Draft, effective: float) -> tuple[Draft, float]:
    """K: served tokens as the objective weighs them."""
    budget = draft.recipe.budget
    tokens = float(budget.inference.total_tokens) if budget.inference else 0.0
    if objective_of(budget) == "flops":
        return draft, tokens
    free = draft.hardware.usd_per_gpu_hour == 0
    if not free or (tokens == 0 and budget.lifetime_cost is None):
        return draft, effective
    at = ("budget", "objective") if budget.objective is not None else ("budget", "lifetime_cost")
    return draft.find(
        draft.diagnostic(
            "RC301",
            "with training that costs nothing, dollars say nothing about how long to train",
            *at,
            help="objective: flops"
            if budget.objective is not None
            else "lifetime_cost: null   # and `match_chinchilla: 1B`, or a `price` under `hardware`",
            reason=f"the price of {draft.hardware.gpu} is $0 ({draft.hardware.price_source})",
        )
    ), tokens


def _limits(draft: Draft) -> Limits:
    said = draft.recipe.budget.constraints
    sizes = [source.tokens for source in draft.recipe.data.sources.values()]
    known = [size for size in sizes if size is not None]
    there = sum(known) * (1 - draft.recipe.evaluation.holdout) if known and len(known) == len(sizes) else None
    limits = Limits(
        min_parameters=float(said.min_parameters or 0),
        max_parameters=float(said.max_parameters or "inf"),
        max_tokens_per_parameter=said.max_tokens_per_parameter or float("inf"),
    )
    if said.unique_tokens is not None:
        return replace(limits, unique_tokens=float(said.unique_tokens), max_epochs=said.max_epochs or _USUAL_EPOCHS)
    return replace(limits, unique_tokens=there) if there else limits


def _checked(draft: Draft, market: Market, aim: Aim | None) -> tuple[Draft, Aim | None]:
    """Findings about a target that nothing can meet."""
    budget, law = draft.recipe.budget, market.law
    fallback = law.chinchilla_from_parameters(FALLBACK_PARAMETERS).loss
    if aim is None and budget.lifetime_cost is not None:  # _served has said why
        return draft, Aim("lifetime_cost", "loss", fallback)
    if aim is None and budget.cost is not None:
        return draft.find(
            draft.diagnostic(
                "RC301",
                f"{format_usd(budget.cost)} can't be spent on devices that cost nothing",
                "budget",
                "cost",
                help="cost: null   # and `time: 48h`, or a `price` under `hardware`",
                reason=f"the price of {draft.hardware.gpu} is $0 ({draft.hardware.price_source})",
            )
        ), Aim("cost", "loss", fallback)
    if aim is not None and aim.goal == "loss" and aim.value <= law.e:
        return draft.find(
            draft.diagnostic(
                "RC301",
                f"no model reaches a loss of {aim.value:g}",
                "budget",
                aim.key,
                help=f"{aim.key}: {law.e + 0.5:.2f}",
                reason=f"the irreducible loss of the law `{law.name}` is {law.e:.4g} nats per token",
            )
        ), Aim(aim.key, "loss", fallback)
    most = market.limits.most_tokens
    if aim is not None and aim.goal == "tokens" and aim.value > most:
        return draft.find(
            draft.diagnostic(
                "RC301",
                f"{format_tokens(aim.value)} are more than {market.limits.max_epochs:g} passes over"
                f" {format_tokens(market.limits.unique_tokens)}",
                *(("training", "duration") if aim.key == "duration" else ("budget", "tokens")),
                help=f"{'duration' if aim.key == 'duration' else 'tokens'}: {most:.0f}tok",
                reason="budget.constraints.unique_tokens says how many there are",
            )
        ), Aim(aim.key, "tokens", most)
    return draft, aim


def _is_fixed(draft: Draft) -> bool:
    """Whether the recipe gives the model's size or its dimensions."""
    said = draft.recipe.model
    return isinstance(said.size, int) or (said.hidden_size is not None and said.num_layers is not None)


def _best(draft: Draft, market: Market, aim: Aim | None) -> tuple[Draft, Within | None]:
    """The continuous optimum within the limits; for a target beyond them a finding with the most that they allow."""
    if aim is None:
        return draft, None
    choice = choose(market, aim.goal, aim.value)
    if choice.found is not None:
        return draft, choice.found
    if _is_fixed(draft):  # the target chooses the tokens alone, and passes/batch.py and budget.py judge those
        return draft, None
    finding = out_of_reach(draft, market, aim, choice)
    return draft.find(finding), Within(market.law.chinchilla_from_parameters(FALLBACK_PARAMETERS))
