"""What the budget asks for: parameters and tokens by the scaling law, before anything is rounded to what can be built."""

from __future__ import annotations

from compiler.draft import Draft, Targets
from compiler.estimate.scaling_law import LAWS, Optimum, ScalingLaw
from schemas.budget import Budget

__all__ = ["FALLBACK_PARAMETERS", "targets"]

FALLBACK_PARAMETERS = 125_000_000
"""After an error about the size, later passes go on with this one, so that their findings come too."""

# Where only tokens per parameter are given, any size satisfies the budget.
_NO_SIZE = "`size: auto` needs a budget that says how good or how large: match_chinchilla, target_loss, flops or tokens"


def _ideal(law: ScalingLaw, budget: Budget, tokens: float | None) -> Optimum | None:
    """The continuous optimum of a budget, with its demand for inference; None if the budget names no scale."""
    served = float(budget.inference.total_tokens) if budget.inference else 0.0
    if budget.match_chinchilla is not None:
        base = law.chinchilla_from_parameters(budget.match_chinchilla)
    elif budget.target_loss is not None:
        base = law.optimum(budget.target_loss)
    elif budget.flops is not None:
        base = law.chinchilla_from_flops(budget.flops)
    elif tokens is not None:
        return law.chinchilla_from_tokens(tokens)
    else:
        return None
    return law.optimum(base.loss, served)


def targets(draft: Draft) -> Draft:
    """Fill the intermediate `targets`: wanted parameters (a hint where the recipe gives dimensions) and tokens."""
    recipe, budget = draft.recipe, draft.recipe.budget
    law = LAWS[budget.scaling_law]
    duration = recipe.training.duration
    tokens = float(budget.tokens) if budget.tokens is not None else None
    if tokens is None and duration is not None and duration.unit == "tok":
        tokens = duration.value
    if budget.target_loss is not None and budget.target_loss <= law.e:
        draft = draft.find(
            draft.diagnostic(
                "RC301",
                f"no model reaches a loss of {budget.target_loss:g}",
                "budget",
                "target_loss",
                help=f"target_loss: {law.e + 0.1:.2f}",
                reason=f"the irreducible loss of the law `{budget.scaling_law}` is {law.e:.4g} nats per token",
            )
        )
        ideal: Optimum | None = law.chinchilla_from_parameters(FALLBACK_PARAMETERS)
    else:
        ideal = _ideal(law, budget, tokens)
    size = recipe.model.size
    if size == "auto" and ideal is None and recipe.model.hidden_size is None:
        draft = draft.find(
            draft.diagnostic(
                "RC301", _NO_SIZE, "model", "size", help="budget: {match_chinchilla: 1B}   # for example"
            ).model_copy(update={"path": "budget"})  # said of `size`, but mended there: no echo of a wrong budget
        )
        ideal = law.chinchilla_from_parameters(FALLBACK_PARAMETERS)
    said = float(size) if isinstance(size, int) else None
    return draft.note(
        "targets",
        Targets(
            parameters=said or (ideal.parameters if ideal else 0.0),
            tokens=tokens,
            tokens_per_parameter=budget.tokens_per_parameter,
            optimal_parameters=ideal.parameters if ideal else 0.0,
            optimal_tokens=ideal.tokens if ideal else 0.0,
        ),
    )
