"""Which single weights go: a schedule of sparsity, and masks of the smallest magnitudes; pure functions of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import torch

__all__ = ["GROUP", "keep_largest", "keep_masks", "keep_two_of_four", "sparsity_at"]

GROUP: Final = 4
"""Inputs of which two stay: what the tensor cores of Ampere and later skip (Mishra et al. 2021, arXiv 2104.08378)."""


def sparsity_at(
    step: int, *, start: int, end: int, interval: int, initial: float, final: float, schedule: str
) -> float:
    """Share of weights that are zero after a step: s(t) = s_f + (s_i - s_f) (1 - x)^p, p = 3 (cubic) or 1 (linear).

    x goes from 0 at `start` to 1 in n = (end - start) // interval equal steps (Zhu & Gupta 2017, equation 1). Before the start
    it is s_i, from the last step on s_f; `oneshot` is s_f from the start on.
    """
    if schedule == "oneshot":
        return final if step >= start else initial
    count = max(1, (end - start) // interval)
    done = min(count, max(0, (step - start) // interval))
    if done == count or step >= end:
        return final
    power = {"cubic": 3, "linear": 1}[schedule]
    return initial + (final - initial) * (1 - (1 - done / count) ** power)


def keep_largest(scores: torch.Tensor, removed: int) -> torch.Tensor:
    """True for all but the `removed` smallest of a flat tensor; of equal ones the first go, so that all ranks agree."""
    mask = torch.ones_like(scores, dtype=torch.bool)
    mask[torch.argsort(scores, stable=True)[:removed]] = False
    return mask


def keep_masks(
    weights: Mapping[str, torch.Tensor], sparsity: float, scope: Literal["layer", "global"]
) -> dict[str, torch.Tensor]:
    """True where a weight stays: all but the round(sparsity * n) of smallest magnitude, per layer or of all layers.

    Weights that are zero already rank lowest, so what is gone stays gone. Sorting takes twice the memory of the ranked.
    """
    if scope == "layer":
        return {
            name: _keep(weight.detach().abs().flatten(), sparsity).view_as(weight) for name, weight in weights.items()
        }
    if not weights:
        return {}
    ranked = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
    parts = torch.split(_keep(ranked, sparsity), [weight.numel() for weight in weights.values()])
    return {name: part.view_as(weight).clone() for (name, weight), part in zip(weights.items(), parts, strict=True)}


def _keep(magnitudes: torch.Tensor, sparsity: float) -> torch.Tensor:
    return keep_largest(magnitudes, round(sparsity * magnitudes.numel()))


def keep_two_of_four(weight: torch.Tensor, input_dim: int, sparsity: float) -> torch.Tensor | None:
    """True where a weight stays; at a sparsity of 0.5 exactly two of every four neighbouring inputs do.

    On the way there the smallest of those that will go, go first. None where the inputs don't divide by four.

    Args:
        weight: any shape.
        input_dim: dimension of its inputs.
        sparsity: at most 0.5.
    """
    if weight.shape[input_dim] % GROUP:
        return None
    rows = weight.detach().abs().movedim(input_dim, -1)
    groups = rows.reshape(-1, GROUP)
    going = torch.zeros_like(groups, dtype=torch.bool)
    going.scatter_(1, torch.argsort(groups, dim=1, stable=True)[:, : GROUP // 2], True)
    ranked = groups.masked_fill(~going, torch.inf).flatten()
    return _keep(ranked, min(sparsity, 0.5)).view(rows.shape).movedim(-1, input_dim)
