"""From predictions to false-positive and false-negative rates of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Rates", "accuracy", "confusion", "mean_rates", "rates"]

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rates:
    """Error rates of each class, shape (classes,); NaN where the class has no sample, or no sample is outside of it."""

    fpr: Floats
    fnr: Floats


def confusion(truth: npt.ArrayLike, predicted: npt.ArrayLike, num_classes: int) -> Integers:
    """How often each class was taken for each: rows are the truth, columns the prediction.

    Args:
        truth: class of each sample, integers in [0, num_classes).
        predicted: what each was taken for, of the same shape.
        num_classes: side of the matrix.

    Raises:
        ValueError: the shapes differ, or a class is out of range.
    """
    rows, columns = (np.asarray(labels, dtype=np.int64).ravel() for labels in (truth, predicted))
    if rows.shape != columns.shape:
        raise ValueError(f"{rows.size} true classes and {columns.size} predicted ones")
    if rows.size and not (0 <= min(rows.min(), columns.min()) <= max(rows.max(), columns.max()) < num_classes):
        raise ValueError(f"a class is not in [0, {num_classes})")
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def rates(matrix: npt.ArrayLike) -> Rates:
    """FPR_i = FP_i / (FP_i + TN_i) and FNR_i = FN_i / (FN_i + TP_i) of a confusion matrix (rows: truth)."""
    counts = np.asarray(matrix, dtype=np.float64)
    hits, positives, chosen = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    negatives = counts.sum() - positives
    with np.errstate(invalid="ignore", divide="ignore"):
        return Rates(fpr=(chosen - hits) / negatives, fnr=(positives - hits) / positives)


def mean_rates(replicates: Sequence[Rates]) -> Rates:
    """The mean of each rate over replicates of one model: rates are averaged, never the metrics made of them."""
    return Rates(
        fpr=np.mean([one.fpr for one in replicates], axis=0),
        fnr=np.mean([one.fnr for one in replicates], axis=0),
    )


def accuracy(matrix: npt.ArrayLike) -> float:
    """Share of samples whose class was predicted; 0 without samples."""
    counts = np.asarray(matrix, dtype=np.float64)
    return float(np.trace(counts) / counts.sum()) if counts.sum() else 0.0
