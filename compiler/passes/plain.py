"""Sections that the recipe says completely."""

from __future__ import annotations

from compiler.classification import fit_recipe
from compiler.draft import Draft
from schemas.plan import ObjectivePlan

__all__ = ["objective"]


def objective(draft: Draft) -> Draft:
    """Fill `objective`, and refuse keys that don't belong to it."""
    draft, said = fit_recipe(draft), draft.recipe.objective
    section = ObjectivePlan(kind=said.kind, z_loss=said.z_loss, label_smoothing=said.label_smoothing)
    return draft.fill("objective", section, {})
