"""Low-rank factors of trained weights: W becomes A B by truncated SVD before the first step, and both are trained on.

Where earlier runs emptied channels and heads, these are taken out first: factors of a matrix with empty rows would have weights
for nothing, and training would fill the rows.

The shipped model keeps its factors. Where it is written as a Hugging Face folder, whose configuration knows no factors, their
products stand in it as ordinary weights: see runtime/models/model_files.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from composer.core import Algorithm
from torch import nn

from runtime.compression.factors import (
    Factorized,
    factorized,
    factors_of,
    largest_rank,
    matrix_of,
    rank_for_energy,
    rank_for_parameters,
)
from runtime.compression.sparsity.layers import prunable
from runtime.compression.sparsity.removal import remove_dead, remove_like
from runtime.layout import Layout
from schemas.plan import RunPlan
from schemas.techniques.low_rank import LowRankAlgorithm

__all__ = ["build", "facts", "prepare", "rank_of"]

Weights = Mapping[str, torch.Tensor]


def build(spec: LowRankAlgorithm, plan: RunPlan, layout: Layout) -> Algorithm | None:  # the contract
    """Nothing: factors are trained like any weights."""
    return None


def rank_of(spec: LowRankAlgorithm, matrix: torch.Tensor) -> int | None:
    """Rank of a matrix's factors [outputs, inputs]; None if they would have as many weights as it, or more."""
    outputs, inputs = matrix.shape
    if spec.rank is not None:
        rank = spec.rank
    elif spec.parameters is not None:
        rank = rank_for_parameters(outputs, inputs, spec.parameters)
    else:
        rank = rank_for_energy(torch.linalg.svdvals(matrix.detach().float()), cast("float", spec.energy))
    return rank if rank <= largest_rank(outputs, inputs) else None


def prepare(spec: LowRankAlgorithm, model: nn.Module, plan: RunPlan, weights: Weights | None) -> None:
    """Put factors in place of layers.

    Args:
        spec: which layers, and how much is kept.
        model: with trained weights, or any if `weights` are given.
        plan: not looked at.
        weights: a checkpoint's, whose shapes say the ranks; what the new layers hold is loaded later.
    """
    if spec.hold:
        return
    if spec.removes:
        model = remove_dead(model) if weights is None else remove_like(model, weights)
    for name, layer in prunable(dict(model.named_modules())).items():
        if name.rpartition(".")[2] not in spec.targets:
            continue
        rank = rank_of(spec, matrix_of(layer)) if weights is None else _rank_in(weights, name)
        if rank is None:
            continue
        new = Factorized(layer, rank)
        if weights is None:
            new.set_factors(*factors_of(matrix_of(layer), rank))
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, new)


def _rank_in(weights: Weights, name: str) -> int | None:
    """Rank of a layer in a checkpoint; None if it is whole there."""
    down = weights.get(f"{name}.down.weight")
    return None if down is None else len(down)


def facts(spec: LowRankAlgorithm, model: nn.Module) -> dict[str, Any]:
    """How many layers are factors, and their ranks."""
    ranks = [layer.rank for _, layer in factorized(model)]
    return {"layers": len(ranks), "smallest_rank": min(ranks, default=0), "largest_rank": max(ranks, default=0)}
