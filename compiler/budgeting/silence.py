"""Where the scaling law says nothing: of runs that start from trained weights, and of those far outside of its data."""

from __future__ import annotations

import math

from compiler.draft import Draft
from compiler.provenance import Because, Reason
from schemas.sections.budget import BudgetPlan, Promise

__all__ = ["SILENT", "silenced", "why_silent"]

SILENT = (*Promise._fields, "loss_low", "loss_high", "unconstrained")
"""Fields of the budget that hold what the law says."""


def why_silent(draft: Draft, budget: BudgetPlan) -> str:
    """Why the law says nothing of this run; empty where it says something.

    Args:
        draft: with `start` and `model`.
        budget: what passes/budget.py noted, the law's answers in it.
    """
    law = f"the law `{budget.scaling_law}`"
    if draft.sections["start"] is not None:
        return f"{law} is of runs from random weights: it can't know what trained ones already do"
    guess = math.log(draft.decoder.vocab_size)
    if budget.loss is not None and budget.loss >= guess:
        return (
            f"{law} gives {budget.loss:.3g} nats per token, no less than a uniform guess over the vocabulary ({guess:.3g}):"
            " the run is too far outside of its data"
        )
    return ""


def silenced(budget: BudgetPlan, why: str) -> tuple[BudgetPlan, dict[str, Because]]:
    """The budget without what the law says, and the reason of each field that is now null."""
    return budget.model_copy(update=dict.fromkeys(SILENT)), dict.fromkeys(SILENT, Reason(why))
