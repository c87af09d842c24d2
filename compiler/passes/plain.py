"""Sections that the recipe says completely."""

from __future__ import annotations

from compiler.draft import Draft
from schemas.plan import ObjectivePlan

__all__ = ["objective"]


def objective(draft: Draft) -> Draft:
    """Fill `objective`."""
    said = draft.recipe.objective
    return draft.fill("objective", ObjectivePlan(kind=said.kind, z_loss=said.z_loss), {})
