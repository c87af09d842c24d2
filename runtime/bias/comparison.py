"""A model beside its reference, class by class: the values that the step `compare` records, and what reports read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from runtime.bias.metrics import Changes, UndefinedChange, cev, changes, exemplars, sde
from runtime.bias.rates import Rates, accuracy, confusion, mean_rates, rates
from runtime.errors import RunFailed
from schemas.evaluation import BiasPlan

__all__ = ["Prediction", "compare"]

_NAMED_EXEMPLARS: Final = 20

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prediction:
    """What a model says of the held-out samples.

    Args:
        classes: predicted class of each, shape (samples,).
        exact: share that is right in full: of a language model the very token, of a classifier its class.
    """

    classes: Integers
    exact: float


def compare(
    truth: Integers,
    names: Sequence[str],
    reference: Prediction,
    replicates: Sequence[Prediction],
    bias: BiasPlan,
) -> dict[str, Any]:
    """Metrics, confusion matrices and a table of classes; all numbers are finite, what isn't there is None.

    Args:
        truth: class of each sample, shape (samples,).
        names: of the classes.
        reference: the model that is compared with.
        replicates: the compressed model, and others of it that differ by their seed; at least one.
        bias: convention, and what happens to a class without errors.

    Returns:
        `cev`, `sde`, `pie` (samples that all replicates changed), `pie_share`, `pie_samples` (the first ones), `accuracy` and
        `exact` (of reference and model, replicates averaged), `confusion` of both (the first replicate's), `classes` (one
        entry each), `left_out` (classes without a relative change).

    Raises:
        RunFailed: a class has no relative change, and `zero_rate` is `error` (RC610).
    """
    matrices = [confusion(truth, one.classes, len(names)) for one in replicates]
    reference_matrix = confusion(truth, reference.classes, len(names))
    old, new = rates(reference_matrix), mean_rates([rates(matrix) for matrix in matrices])
    try:
        found = changes(old, new, bias.zero_rate, bias.epsilon)
    except UndefinedChange as error:
        raise _undefined(error, names) from error
    changed = exemplars(reference.classes, [one.classes for one in replicates])
    # Without a class that counts there is nothing to spread, unless the rates are the very same.
    same = _same(old, new)
    return {
        "cev": 0.0 if same else cev(found, bias.convention),
        "sde": 0.0 if same else sde(found, bias.convention),
        "convention": bias.convention,
        "pie": int(changed.sum()),
        "pie_share": float(changed.mean()) if changed.size else 0.0,
        "pie_samples": np.flatnonzero(changed)[:_NAMED_EXEMPLARS].tolist(),
        "samples": int(truth.size),
        "replicates": len(replicates),
        "accuracy": {
            "reference": accuracy(reference_matrix),
            "model": float(np.mean([accuracy(matrix) for matrix in matrices])),
        },
        "exact": {"reference": reference.exact, "model": float(np.mean([one.exact for one in replicates]))},
        "confusion": {"reference": reference_matrix.tolist(), "model": matrices[0].tolist()},
        "classes": _table(names, reference_matrix, old, new, found),
        "left_out": [name for name, counts in zip(names, found.counted.tolist(), strict=True) if not counts],
    }


def _same(old: Rates, new: Rates) -> bool:
    return np.array_equal(old.fpr, new.fpr, equal_nan=True) and np.array_equal(old.fnr, new.fnr, equal_nan=True)


def _table(names: Sequence[str], matrix: Integers, old: Rates, new: Rates, found: Changes) -> list[dict[str, Any]]:
    """One entry a class: its samples, both rates of both models, and their relative changes."""
    counts = matrix.sum(axis=1).tolist()
    return [
        {
            "name": name,
            "samples": int(counts[i]),
            "fpr": {"reference": _number(old.fpr[i]), "model": _number(new.fpr[i]), "change": _number(found.fpr[i])},
            "fnr": {"reference": _number(old.fnr[i]), "model": _number(new.fnr[i]), "change": _number(found.fnr[i])},
        }
        for i, name in enumerate(names)
    ]


def _number(value: float) -> float | None:
    """A number for JSON; None for what isn't there."""
    return float(value) if np.isfinite(value) else None


def _undefined(error: UndefinedChange, names: Sequence[str]) -> RunFailed:
    without = [names[number] for number in error.classes]
    shown = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
    return RunFailed(
        "RC610",
        f"the reference makes no error of one kind in class {shown}, so a relative change of it isn't there",
        "set `evaluation.bias.zero_rate: skip` to leave such classes out, or `epsilon`; or measure on more held-out samples",
    )
