"""The gate of `evaluation.bias`: CEV and SDE against the limits that the recipe sets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from runtime.errors import RunFailed
from schemas.evaluation import BiasPlan

__all__ = ["gate_error", "most_moved"]

_NAMED_CLASSES: Final = 5


def gate_error(bias: BiasPlan | None, values: Mapping[str, Any]) -> RunFailed | None:
    """The error of a comparison that exceeds its limits, or can't be held against them; None if it may be exported.

    Args:
        bias: the plan's; its limits, which may have changed since the values were measured.
        values: of the step `compare`.
    """
    if bias is None or (bias.max_cev is None and bias.max_sde is None):
        return None
    limits = {"cev": bias.max_cev, "sde": bias.max_sde}
    over = {name: limit for name, limit in limits.items() if limit is not None and not _within(values[name], limit)}
    if not over:
        return None
    right = values["accuracy"]
    unknown = [name for name in over if values[name] is None]
    if unknown:
        return RunFailed(
            "RC610",
            f"{' and '.join(name.upper() for name in unknown)} can't be held against a limit: the reference has no class with "
            f"errors of both kinds (accuracy {right['reference']:.4f}, of the model {right['model']:.4f})",
            "hold out more samples, or set `evaluation.bias: {zero_rate: epsilon, epsilon: 0.01}`, which counts rates below 1 % "
            "as 1 %; it is not exported until then",
        )
    said = "; ".join(
        f"{name.upper()} {values[name]:.4g} is above max_{name}: {limit:g}" for name, limit in over.items()
    )
    raised = ", ".join(f"max_{name}: {_above(values[name]):g}" for name in over)
    return RunFailed(
        "RC610",
        f"{said}. Accuracy is {right['reference']:.4f} in the reference, {right['model']:.4f} in the model. "
        f"Moved most: {'; '.join(most_moved(values))}",
        "it is not exported and stays in its checkpoints: compress less or distil from the reference, or accept it with "
        f"`evaluation.bias: {{{raised}}}` and run again, which only exports",
    )


def _within(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit


def _above(value: float) -> float:
    """The next number of two digits."""
    power = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / power + 1e-9) * power:.2g}")


def _percent(change: float) -> str:
    """A relative change; one that rounds to nothing has no sign."""
    return f"{change:+.0%}" if round(100 * change) else "0%"


def most_moved(values: Mapping[str, Any], most: int = _NAMED_CLASSES) -> list[str]:
    """The classes furthest from the mean of all, in words, first the furthest."""
    counted = [one for one in values["classes"] if one["fpr"]["change"] is not None]
    if not counted:
        return []
    mean = {rate: sum(one[rate]["change"] for one in counted) / len(counted) for rate in ("fpr", "fnr")}

    def distance(one: Mapping[str, Any]) -> float:
        return math.hypot(*(one[rate]["change"] - mean[rate] for rate in ("fpr", "fnr")))

    furthest = sorted(counted, key=lambda one: (-distance(one), one["name"]))[:most]
    return [
        f"`{one['name']}` false negatives {_percent(one['fnr']['change'])}, false positives {_percent(one['fpr']['change'])}"
        for one in furthest
    ]
