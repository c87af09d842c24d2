"""Dollars of the budget's choices, once the estimate knows what training costs; targets of money and time that it can't meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.budgeting.aim import ESTIMATED
from compiler.budgeting.reasons import reasons
from compiler.budgeting.silence import silenced, why_silent
from compiler.draft import Draft
from compiler.provenance import Because, From, Reason
from schemas.plan import BudgetPlan, ChoicePlan
from schemas.units import format_seconds, format_usd

__all__ = ["Short", "lifetime", "paid_device_seconds", "spent", "too_little"]

# What is further off was not met by the smallest run either (compiler/settle.py).
_TOLERANCE = 1.01


def lifetime(draft: Draft) -> Draft:
    """Fill `budget`: what passes/budget.py noted, with dollars, the estimate's for training, the demand's for serving."""
    if draft.is_classifier:
        return _of_images(draft)
    section, why = _priced(draft, draft.law_budget), reasons(draft)
    if silence := why_silent(draft, section):
        section, unsaid = silenced(section, silence)
        why |= unsaid
    return _too_small(draft.fill("budget", section, why))


def _priced(draft: Draft, budget: BudgetPlan) -> BudgetPlan:
    """The budget with the dollars of its choices."""
    usd = draft.sections["estimate"].usd
    per_flop = usd / budget.train_flops
    per_parameter = budget.inference_usd / draft.model.num_parameters

    def priced(choice: ChoicePlan | None) -> ChoicePlan | None:
        if choice is None:
            return None
        dollars = choice.train_flops * per_flop + choice.parameters * per_parameter
        return choice.model_copy(update={"lifetime_usd": dollars})

    return budget.model_copy(
        update={
            "lifetime_usd": usd + budget.inference_usd,
            "chinchilla": priced(budget.chinchilla),
            "unconstrained": priced(budget.unconstrained),
        }
    )


def _of_images(draft: Draft) -> Draft:
    """Fill `budget` of a classifier, whose life is its training: no law has other choices."""
    usd = draft.sections["estimate"].usd
    why: dict[str, Because] = {
        "": Reason("images of the run; no scaling law holds for classifiers"),
        "train_flops": Reason("6 for each multiply-add of an image's forward pass"),
        "unique_tokens": Reason("images of the sources without those held out"),
        "lifetime_usd": Reason("the estimate of the training"),
        "max_cost_usd": From("budget.max_cost"),
        "max_seconds": From("budget.max_hours"),
        "max_gpus": From("budget.max_gpus"),
    }
    return draft.fill("budget", draft.budget.model_copy(update={"lifetime_usd": usd}), why)


def paid_device_seconds(draft: Draft) -> float:
    """Device time that the run holds; where it costs nothing, that of the whole wall-clock."""
    estimate, hardware = draft.sections["estimate"], draft.hardware
    if estimate.usd > 0:
        return float(estimate.usd / hardware.usd_per_gpu_hour * 3600)
    return float(estimate.hours * 3600 * hardware.count)


@dataclass(frozen=True, slots=True)
class Short:
    """A target of money or time and what the run takes.

    Args:
        key: of `budget`.
        taken, target: dollars or seconds.
        show: how such a number is printed.
    """

    key: str
    taken: float
    target: float
    show: Callable[[float], str]

    def line(self, factor: float) -> str:
        """What to write for so many times what the run takes, a cent more at least."""
        more = self.taken * factor + (0.01 if "cost" in self.key else 0.0)
        return f"{self.key}: {self.show(more).replace(' ', '')}"


def spent(draft: Draft) -> Short | None:
    """The target that the run was to spend; None where it has another kind, or is a limit (those are checked at the end)."""
    aim, said, estimate = draft.targets.aim, draft.recipe.budget, draft.sections["estimate"]
    if aim is None or aim.key not in ESTIMATED:
        return None
    ways: dict[str, tuple[float, float | None, Callable[[float], str]]] = {
        "cost": (estimate.usd, said.cost, format_usd),
        "lifetime_cost": (draft.budget.lifetime_usd, said.lifetime_cost, format_usd),
        "time": (estimate.hours * 3600, said.time, format_seconds),
        "gpu_time": (paid_device_seconds(draft), said.gpu_time, format_seconds),
    }
    taken, target, show = ways.get(aim.key, (0.0, None, format_usd))
    return Short(aim.key, taken, target, show) if target is not None else None


def too_little(draft: Draft) -> Short | None:
    """The target, where even the smallest run takes more."""
    short = spent(draft)
    return short if short is not None and short.taken > short.target * _TOLERANCE else None


def _too_small(draft: Draft) -> Draft:
    """A finding where even one step takes more than the target, or where no run takes as much."""
    short = spent(draft)
    if short is None or any(found.code == "RC301" for found in draft.findings):
        return draft
    if short.taken < short.target / 2 and not draft.law_budget.binding:
        return draft.find(
            draft.diagnostic(
                "RC301",
                f"no run of these devices takes {short.show(short.target)}; the longest that was found takes"
                f" {short.show(short.taken)}",
                "budget",
                short.key,
                help=short.line(1.0),
                reason="a longer one has no model that it fits, or loses more to failures than it gains",
            )
        )
    if short.taken <= short.target * _TOLERANCE:
        return draft
    served = draft.budget.inference_usd
    return draft.find(
        draft.diagnostic(
            "RC301",
            f"{short.show(short.target)} is too little: the smallest run of this model takes {short.show(short.taken)}"
            + (f", {format_usd(served)} of it to serve it" if short.key == "lifetime_cost" and served else ""),
            "budget",
            short.key,
            help=short.line(1.1),
            reason="startup, one step, a checkpoint and serving cost at least that",
        )
    )
