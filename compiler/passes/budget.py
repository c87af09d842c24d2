"""What the run amounts to: exact tokens, FLOPs, and the loss that the scaling law expects."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.estimate.scaling_law import LAWS, inference_flops, train_flops
from compiler.provenance import Because, From, Reason
from schemas.diagnostics import Severity
from schemas.plan import BudgetPlan
from schemas.units import format_tokens

__all__ = ["budget"]


def _tokens_reason(draft: Draft) -> Because:
    said, asked = draft.recipe.budget, draft.batch
    rounding = f"{asked.steps} steps of {asked.tokens} tokens"
    if draft.recipe.training.duration is not None:
        return From("training.duration", rounding)
    for name in ("tokens", "tokens_per_parameter", "flops", "target_loss", "match_chinchilla"):
        if getattr(said, name) is not None:
            return From(f"budget.{name}", rounding)
    return Reason(rounding)


def budget(draft: Draft) -> Draft:
    """Fill `budget`."""
    said, n, tokens = draft.recipe.budget, draft.model.num_parameters, draft.batch.total_tokens
    law = LAWS[said.scaling_law]
    served = said.inference.total_tokens if said.inference else 0
    if tokens / n > law.most_tokens_per_parameter:
        draft = draft.find(
            draft.diagnostic(
                "RC303",
                f"{tokens / n:.0f} tokens per parameter is beyond the {law.most_tokens_per_parameter:.0f} of the law's data",
                "budget",
                reason=f"the loss of the law `{said.scaling_law}` promises too much there",
                help=f"{format_tokens(law.most_tokens_per_parameter * n)} would stay within it; the run itself is fine",
                severity=Severity.WARNING,
            )
        )
    section = BudgetPlan(
        tokens=tokens,
        train_flops=train_flops(n, tokens),
        inference_tokens=served,
        inference_flops=inference_flops(n, served),
        loss=law.loss(n, tokens),
        scaling_law=said.scaling_law,
        extrapolated=not law.covers(n, tokens),
        optimal_parameters=round(draft.targets.optimal_parameters) or n,
        optimal_tokens=round(draft.targets.optimal_tokens) or tokens,
        tokens_per_parameter=tokens / n,
        max_cost_usd=said.max_cost,
        max_seconds=said.max_hours,
    )
    optimum = Reason(f"least 6 N D + 2 N T at the same loss, law `{said.scaling_law}` ({law.source})")
    return draft.fill(
        "budget",
        section,
        {
            "tokens": _tokens_reason(draft),
            "train_flops": Reason("6 N D"),
            "inference_tokens": From("budget.inference"),
            "inference_flops": Reason("2 N T"),
            "loss": Reason(f"L(N, D) = E + A/N^alpha + B/D^beta, {law.source}"),
            "extrapolated": Reason(
                f"the fit's data: {law.least_parameters:.3g} to {law.most_parameters:.3g} parameters"
            ),
            "optimal_parameters": optimum,
            "optimal_tokens": optimum,
            "tokens_per_parameter": Reason("tokens / num_parameters"),
            "max_cost_usd": From("budget.max_cost"),
            "max_seconds": From("budget.max_hours"),
        },
    )
