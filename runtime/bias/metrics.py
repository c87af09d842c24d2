"""CEV, SDE and PIE: how unevenly a model's errors moved against those of its reference, class by class.

CEV (combined error variance) and SDE (symmetric distance error): Blakeney, Huish, Yan & Zong 2021, arXiv 2106.07849;
Blakeney et al. 2021, arXiv 2110.04397. Of each class take the point (x, y) of relative changes of its false-positive and
its false-negative rate; mu is the mean of the points. Two normalisations are in circulation:

    paper  CEV = mean |point - mu|^2            SDE = mean |y - x|
    repo   x and y in percent, CEV divided by 2n instead of n, SDE by sqrt 2 (the authors' notebook)
           CEV_repo = 5000 CEV_paper,           SDE_repo = 100 / sqrt 2 SDE_paper

Both are 0 where all classes got worse by one factor: a number of them says nothing without the accuracies beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from runtime.bias.rates import Rates
from schemas.evaluation import BiasConvention, ZeroRate

__all__ = ["CEV_REPO", "SDE_REPO", "Changes", "UndefinedChange", "cev", "changes", "exemplars", "sde"]

CEV_REPO: Final = 5000.0
"""CEV by the authors' notebook over CEV by the paper: percent squared over two coordinates."""
SDE_REPO: Final = 100.0 / math.sqrt(2.0)
"""SDE by the authors' notebook over SDE by the paper: percent, measured at a right angle to the diagonal."""

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


class UndefinedChange(ValueError):
    """A class has no relative change, and the plan says that this is an error. `classes` are their numbers."""

    def __init__(self, classes: Sequence[int]) -> None:
        super().__init__(f"no relative change in classes {list(classes)}")
        self.classes = tuple(classes)


@dataclass(frozen=True)
class Changes:
    """Relative change of each class's rates, shape (classes,), and which of them count; the others are NaN."""

    fpr: Floats
    fnr: Floats
    counted: Booleans


def changes(reference: Rates, model: Rates, zero_rate: ZeroRate = "skip", epsilon: float = 1e-12) -> Changes:
    """(model - reference) / reference of both rates.

    Args:
        reference: rates of the reference.
        model: of the same classes; of replicates their mean.
        zero_rate: a reference rate of 0 has no relative change. `skip` leaves the class out, `epsilon` divides by
            `epsilon` instead, `error` raises. A rate that isn't there at all (no such sample) is left out, or raises.
        epsilon: the smallest divisor, for `epsilon`.

    Raises:
        UndefinedChange: a class has no relative change and `zero_rate` is `error`.
    """
    known = np.isfinite(reference.fpr) & np.isfinite(reference.fnr) & np.isfinite(model.fpr) & np.isfinite(model.fnr)
    counted = known if zero_rate == "epsilon" else known & (reference.fpr > 0) & (reference.fnr > 0)
    if zero_rate == "error" and not counted.all():
        raise UndefinedChange(np.flatnonzero(~counted).tolist())

    def relative(old: Floats, new: Floats) -> Floats:
        divisor = np.where(counted, np.maximum(old, epsilon), 1.0)
        return np.where(counted, (new - old) / divisor, np.nan)

    return Changes(relative(reference.fpr, model.fpr), relative(reference.fnr, model.fnr), counted)


def cev(found: Changes, convention: BiasConvention = "paper") -> float | None:
    """Spread of the classes' points round their mean; None without a class that counts."""
    if not found.counted.any():
        return None
    x, y = found.fpr[found.counted], found.fnr[found.counted]
    # Population variance of both coordinates; numpy's two passes keep equal points at exactly 0.
    value = float(np.mean((x - x.mean()) ** 2 + (y - y.mean()) ** 2))
    return value * CEV_REPO if convention == "repo" else value


def sde(found: Changes, convention: BiasConvention = "paper") -> float | None:
    """Mean distance of the classes' points from the diagonal; None without a class that counts."""
    if not found.counted.any():
        return None
    value = float(np.mean(np.abs(found.fnr[found.counted] - found.fpr[found.counted])))
    return value * SDE_REPO if convention == "repo" else value


def exemplars(reference: npt.ArrayLike, replicates: Sequence[npt.ArrayLike]) -> Booleans:
    """Pruning-identified exemplars: samples on which every replicate disagrees with the reference's prediction.

    Args:
        reference: its predictions, shape (samples,).
        replicates: predictions of one or more replicates of the compressed model, on the same samples.

    Returns:
        A mask over the samples.
    """
    chosen = np.asarray(reference)
    disagree = [np.asarray(predicted) != chosen for predicted in replicates]
    return np.logical_and.reduce(disagree) if disagree else np.zeros(chosen.shape, dtype=bool)
