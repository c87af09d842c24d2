"""A user's own cluster: how much slower each part of a step runs there than in published runs, fitted to a few measured runs.

Every run is a step whose parts were estimated and whose length was measured. Four factors stretch the parts; they are the
minimum of sum of (log(stretched/measured) / 0.05)^2 (linear beyond 10 %) + sum of (log factor / prior)^2, so one run moves what
it can tell apart a little, and twenty runs settle it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

__all__ = ["GROUPS", "MeasuredStep", "Site", "calibrate", "read_site", "stretch", "write_site"]

GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "products": ("matmul", "attention", "recompute", "bubble"),
        "memory": ("pointwise", "loss", "optimizer"),
        "communication": ("communication",),
        "overhead": ("overhead",),
    }
)
"""The parts of a step that share a factor: arithmetic, memory traffic, links and networks, the host."""
_PRIORS: Final = {"products": 0.20, "memory": 0.30, "communication": 0.60, "overhead": 0.60}
_NOISE: Final = 0.05
_ROBUST: Final = 0.10
_STEPS: Final = 40
_VERSION: Final = 1
# The published class of runs speaks as loud as so many runs of the user's own when the interval is formed.
_SHIPPED_RUNS: Final = 4.0


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """One run.

    Args:
        name: for messages.
        parts: estimated seconds of the parts of a step.
        seconds: measured length of a step.
        within: the interval that the estimate came with, as log(high/estimate).
    """

    name: str
    parts: Mapping[str, float]
    seconds: float
    within: float


@dataclass(frozen=True, slots=True)
class Site:
    """A fitted cluster.

    Args:
        stretch: factor on the seconds of each group of parts; 1 is what published runs take.
        runs: that it was fitted on.
        before, median: half of the runs' |log(predicted/measured)| stay below: shipped, and held out with these factors.
        within: nine tenths of further runs should stay below.
    """

    stretch: Mapping[str, float]
    runs: int
    before: float
    median: float
    within: float


def stretch(parts: Mapping[str, float], factors: Mapping[str, float]) -> dict[str, float]:
    """Parts of a step with each group stretched."""
    of = {part: factors.get(group, 1.0) for group, names in GROUPS.items() for part in names}
    return {part: seconds * of[part] for part, seconds in parts.items()}


def calibrate(steps: Sequence[MeasuredStep]) -> Site:
    """Fit the factors to runs and say what they earn.

    Raises:
        ValueError: there is no run.
    """
    if not steps:
        raise ValueError("no run to calibrate on")
    before = [abs(_error(step, {})) for step in steps]
    folds = min(len(steps), 10)
    after: list[float] = []
    for fold in range(folds):
        rest = [step for i, step in enumerate(steps) if i % folds != fold]
        fitted = _fit(rest) if rest else {}
        after += [abs(_error(step, fitted)) for i, step in enumerate(steps) if i % folds == fold]
    own = _quantile(after, min(1.0, 0.9 * (1 + 1 / len(steps))))
    shipped = _quantile([step.within for step in steps], 0.5)
    blended = (len(steps) * own + _SHIPPED_RUNS * shipped) / (len(steps) + _SHIPPED_RUNS)
    return Site(
        stretch={group: round(value, 4) for group, value in _fit(steps).items()},
        runs=len(steps),
        before=round(_quantile(before, 0.5), 4),
        median=round(_quantile(after, 0.5), 4),
        within=round(max(0.03, blended), 4),
    )


def _error(step: MeasuredStep, factors: Mapping[str, float]) -> float:
    return math.log(step.seconds / sum(stretch(step.parts, factors).values()))


def _fit(steps: Sequence[MeasuredStep]) -> dict[str, float]:
    """Gauss-Newton on the logarithms, each run weighted by how far it is off (iteratively reweighted soft L1)."""
    names = tuple(GROUPS)
    theta = [0.0] * len(names)
    for _ in range(_STEPS):
        factors = {name: math.exp(value) for name, value in zip(names, theta, strict=True)}
        normal = [[1 / _PRIORS[a] ** 2 if a == b else 0.0 for b in names] for a in names]
        right = [-value / _PRIORS[name] ** 2 for name, value in zip(names, theta, strict=True)]
        for step in steps:
            stretched = stretch(step.parts, factors)
            total = sum(stretched.values())
            slopes = [sum(stretched.get(part, 0.0) for part in GROUPS[name]) / total for name in names]
            error = math.log(step.seconds / total)
            weight = 1 / (_NOISE**2 * math.sqrt(1 + (error / _ROBUST) ** 2))
            for i, slope in enumerate(slopes):
                right[i] += weight * slope * error
                for j, other in enumerate(slopes):
                    normal[i][j] += weight * slope * other
        change = _solve(normal, right)
        theta = [value + max(-0.5, min(0.5, delta)) for value, delta in zip(theta, change, strict=True)]
        if max(map(abs, change)) < 1e-9:
            break
    return {name: math.exp(value) for name, value in zip(names, theta, strict=True)}


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gaussian elimination; the priors make the matrix positive definite, so no pivot is zero."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for i in range(size):
        for j in range(i + 1, size):
            ratio = rows[j][i] / rows[i][i]
            rows[j] = [a - ratio * b for a, b in zip(rows[j], rows[i], strict=True)]
    found = [0.0] * size
    for i in reversed(range(size)):
        found[i] = (rows[i][size] - sum(rows[i][j] * found[j] for j in range(i + 1, size))) / rows[i][i]
    return found


def _quantile(values: Sequence[float], level: float) -> float:
    ordered = sorted(values)
    place = level * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def write_site(site: Site) -> str:
    """The text of a calibration file."""
    return (
        json.dumps(
            {
                "recipec_calibration": _VERSION,
                "stretch": dict(site.stretch),
                "runs": site.runs,
                "before": site.before,
                "median": site.median,
                "within": site.within,
            },
            indent=2,
        )
        + "\n"
    )


def read_site(path: Path) -> Site:
    """A calibration file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a calibration of this version; the message says what is wrong.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(held, dict) or held.get("recipec_calibration") != _VERSION:
        raise ValueError(f"it is not a calibration of version {_VERSION}; `recipec calibrate` writes one")
    factors = held.get("stretch")
    if not isinstance(factors, dict) or not all(group in factors and _sound(factors[group], 100.0) for group in GROUPS):
        raise ValueError(f"`stretch` must hold a number between 0.01 and 100 for each of {', '.join(GROUPS)}")
    if not all(_sound(held.get(key), 1e9) for key in ("runs", "within")) or held["within"] > 5:
        raise ValueError("`runs` and `within` must be positive numbers")
    return Site(
        stretch={group: float(factors[group]) for group in GROUPS},
        runs=int(held["runs"]),
        before=_error_share(held.get("before")),
        median=_error_share(held.get("median")),
        within=float(held["within"]),
    )


def _error_share(value: object) -> float:
    """A printed error, which nothing is computed from; 0 where it is missing or no number."""
    return float(value) if _sound(value, 1e9) and isinstance(value, int | float) else 0.0


def _sound(value: object, limit: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 1 / limit <= value <= limit
