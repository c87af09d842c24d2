"""Where each value of the plan's budget comes from."""

from __future__ import annotations

import math

from compiler.budgeting.aim import target_key
from compiler.draft import Draft
from compiler.provenance import Because, From, Reason

__all__ = ["reasons"]


def reasons(draft: Draft) -> dict[str, Because]:
    """Path inside the section -> the recipe's line, or the formula and its source."""
    return {
        "": Reason("of the tokens and the model"),
        "tokens": _tokens_reason(draft),
        "tokens_per_parameter": Reason("tokens / num_parameters"),
        "max_cost_usd": From("budget.max_cost"),
        "max_seconds": From("budget.max_hours"),
        "max_gpus": From("budget.max_gpus"),
        **_lifetime(draft),
        **_law(draft),
        **_optimum(draft),
        **_fresh_tokens(draft),
    }


def _lifetime(draft: Draft) -> dict[str, Because]:
    """What training and serving cost."""
    dollars = draft.law_budget.objective == "dollars"
    return {
        "train_flops": Reason("6 N D"),
        "objective": From("budget.objective")
        if draft.recipe.budget.lifetime_cost is None
        else Reason("lifetime_cost is money"),
        "inference_tokens": From("budget.inference"),
        "inference_flops": Reason("2 N T"),
        "inference_usd": Reason("2 N (T_in/U_in + T_out/U_out) x price of a FLOP"),
        "serving": _serving_reason(draft),
        "effective_inference_tokens": Reason("K = C_inf U_tr / C_tr (T_in/U_in + T_out/U_out)" if dollars else "T"),
        "lifetime_flops": Reason("6 N D + 2 N T"),
        "lifetime_usd": Reason("hours of the estimate x price, and 2 N T at the price of serving"),
    }


def _law(draft: Draft) -> dict[str, Because]:
    """The law, and the loss that it foretells."""
    law, fit = draft.targets.known.law, draft.targets.known.fit
    constants = Reason(f"law `{law.name}`: {law.source}")
    spread = Reason(
        f"bootstrap over {len(fit.resampled)} resamples of the runs" if fit else "the fit's runs are not known"
    )
    return {
        "loss": Reason(f"L(N, D) = E + A/N^alpha + B/D^beta, {law.source}"),
        "loss_low": spread,
        "loss_high": spread,
        "scaling_law": constants,
        "law": constants,
        "extrapolated": Reason(
            f"the fit's data: {law.least_parameters:.3g} to {law.most_parameters:.3g} parameters"
            if math.isfinite(law.most_parameters)
            else "the range of the constants' data is not known"
        ),
        "chinchilla": Reason("A N^-alpha alpha = B D^-beta beta at the same loss (Hoffmann et al. 2022)"),
    }


def _optimum(draft: Draft) -> dict[str, Because]:
    """The model and tokens that the law holds best for what the budget names."""
    law, found = draft.targets.known.law, draft.targets.found
    cost = "6 N D + 2 N K in dollars" if draft.law_budget.objective == "dollars" else "6 N D + 2 N T"
    moved = f", moved to {found.binding}" if found is not None and found.binding else ""
    optimum = Reason(
        f"least {cost} for what the budget names{moved}, law `{law.name}` ({law.source}; Sardana et al. 2024, eq. 3)"
        if found is not None
        else "the plan itself: the budget names no scale of its own"
    )
    return {
        "optimal_parameters": optimum,
        "optimal_tokens": optimum,
        "optimal_loss": optimum,
        "snapped_loss_delta": Reason("loss - loss of the optimum of the same lifetime cost"),
        "binding": Reason("the limit that the optimum was moved to"),
        "unconstrained": Reason("the same without constraints, with as many fresh tokens as it takes"),
    }


def _fresh_tokens(draft: Draft) -> dict[str, Because]:
    """How many different tokens there are, and what their repetition costs."""
    return {
        "unique_tokens": From("budget.constraints.unique_tokens")
        if draft.recipe.budget.constraints.unique_tokens is not None
        else Reason("sum of the sources' tokens that are trained on, where all say it"),
        "epochs": Reason("tokens / unique_tokens")
        if math.isfinite(draft.targets.market.limits.unique_tokens)
        else Reason("0, as nothing says how many tokens there are: `tokens` of each source, or `unique_tokens`"),
        "repetition_loss": Reason(
            "D' = U + U R* (1 - exp(-(D/U - 1)/R*)), R* = 15.4 (Muennighoff et al. 2023, section 3.1)"
        ),
    }


def _tokens_reason(draft: Draft) -> Because:
    key, asked = target_key(draft), draft.batch
    rounding = f"{asked.steps} steps of {asked.tokens} tokens"
    if not key:
        return Reason(rounding)
    return From("training.duration" if key == "duration" else f"budget.{key}", rounding)


def _serving_reason(draft: Draft) -> Because:
    said = draft.recipe.budget.inference
    return From(
        "budget.inference",
        ""
        if said is None
        else "what isn't said: the training device and its price (another's is the catalogue's), fp8 where it has it",
    )
