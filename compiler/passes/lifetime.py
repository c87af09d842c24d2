"""Dollars of the budget's choices, once the estimate knows what training costs; targets of money and time that it can't meet."""

from __future__ import annotations

from collections.abc import Callable

from compiler.budgeting.aim import ESTIMATED
from compiler.budgeting.reasons import reasons
from compiler.draft import Draft
from schemas.plan import ChoicePlan
from schemas.units import format_seconds, format_usd

__all__ = ["lifetime", "paid_device_seconds"]

# What is further off was not met by the smallest run either (compiler/settle.py).
_TOLERANCE = 1.01


def lifetime(draft: Draft) -> Draft:
    """Fill `budget`: what passes/budget.py noted, with dollars, the estimate's for training, the demand's for serving."""
    budget, usd = draft.budget, draft.sections["estimate"].usd
    per_flop = usd / budget.train_flops
    per_parameter = budget.inference_usd / draft.model.num_parameters

    def priced(choice: ChoicePlan) -> ChoicePlan:
        dollars = choice.train_flops * per_flop + choice.parameters * per_parameter
        return choice.model_copy(update={"lifetime_usd": dollars})

    section = budget.model_copy(
        update={
            "lifetime_usd": usd + budget.inference_usd,
            "chinchilla": priced(budget.chinchilla),
            "unconstrained": priced(budget.unconstrained) if budget.unconstrained is not None else None,
        }
    )
    return _too_small(draft.fill("budget", section, reasons(draft)))


def paid_device_seconds(draft: Draft) -> float:
    """Device time that the run holds; where it costs nothing, that of the whole wall-clock."""
    estimate, hardware = draft.sections["estimate"], draft.hardware
    if estimate.usd > 0:
        return float(estimate.usd / hardware.usd_per_gpu_hour * 3600)
    return float(estimate.hours * 3600 * hardware.count)


def _too_small(draft: Draft) -> Draft:
    """A finding where even one step takes more than the target."""
    aim, said, estimate = draft.targets.aim, draft.recipe.budget, draft.sections["estimate"]
    if aim is None or aim.key not in ESTIMATED or any(found.code == "RC301" for found in draft.findings):
        return draft
    seconds = estimate.hours * 3600
    taken, target, show = {
        "cost": (estimate.usd, said.cost, format_usd),
        "max_cost": (estimate.usd, said.max_cost, format_usd),
        "lifetime_cost": (draft.budget.lifetime_usd, said.lifetime_cost, format_usd),
        "time": (seconds, said.time, format_seconds),
        "max_hours": (seconds, said.max_hours, format_seconds),
        "gpu_time": (paid_device_seconds(draft), said.gpu_time, format_seconds),
    }[aim.key]
    shown: Callable[[float], str] = show
    if target is None or aim.key in ("max_cost", "max_hours"):
        return draft  # limits are checked with the estimate
    if taken < target / 2 and not draft.budget.binding:
        return draft.find(
            draft.diagnostic(
                "RC301",
                f"no run of these devices takes {shown(target)}; the longest that was found takes {shown(taken)}",
                "budget",
                aim.key,
                help=f"{aim.key}: {shown(taken).replace(' ', '')}",
                reason="a longer one has no model that it fits, or loses more to failures than it gains",
            )
        )
    if taken <= target * _TOLERANCE:
        return draft
    served = draft.budget.inference_usd
    return draft.find(
        draft.diagnostic(
            "RC301",
            f"{shown(target)} is too little: the smallest run of this model takes {shown(taken)}"
            + (f", {format_usd(served)} of it to serve it" if aim.key == "lifetime_cost" else ""),
            "budget",
            aim.key,
            help=f"{aim.key}: {shown(taken * 1.1).replace(' ', '')}",
            reason="startup, one step, a checkpoint and serving cost at least that",
        )
    )
