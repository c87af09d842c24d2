"""Fits L(N, D) = E + A/N^alpha + B/D^beta to runs, and says how far the result can be trusted.

Hoffmann et al. 2022 (arXiv 2203.15556), approach 3: least sum of Huber losses (delta 1e-3) of LSE(a - alpha ln N,
b - beta ln D, e) - ln L with A = exp(a), B = exp(b), E = exp(e). Their 4,500 starts of L-BFGS are replaced by a grid of
exponents, for each of which E, A and B follow from a linear fit; the best are then polished. Plain Python: the compile side
needs no numpy, and a fit of 50 runs takes a quarter of a second.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

__all__ = ["DELTA", "Fit", "fit"]

DELTA: Final = 1e-3
_EXPONENTS: Final = (0.05, 0.1, 0.17, 0.25, 0.35, 0.45, 0.6, 0.8, 1.1)
_POLISHED: Final = 6
_RESAMPLES: Final = (20, 60)
"""Of the bootstrap: fewer for many runs, whose interval is narrow anyway."""
_SCREENED: Final = 80
"""Runs that the starts are ranked on; all runs polish the best of them."""
_SMALLEST: Final = 1e-6  # of a term's factor, so that its logarithm exists where the linear fit says "none"

Rows = tuple[tuple[float, float, float], ...]
Vector = list[float]
Points = list[tuple[float, float, float, float]]
"""(ln N, ln D, ln L, times that the run counts)."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Constants with their spread.

    Args:
        constants: (E, A, B, alpha, beta), rounded to 6 digits so that every machine makes the same plan.
        objective: sum of the Huber losses.
        resampled: the constants of each bootstrap resample of the runs.
    """

    constants: tuple[float, float, float, float, float]
    objective: float
    resampled: tuple[tuple[float, float, float, float, float], ...]

    def interval(self, parameters: float, tokens: float) -> tuple[float, float]:
        """The middle 90 % of the resamples' losses at a point, nats per token."""
        losses = sorted(
            e + a * math.pow(parameters, -alpha) + b * math.pow(tokens, -beta)
            for e, a, b, alpha, beta in self.resampled
        )
        cut = round(0.05 * len(losses))
        return losses[cut], losses[-1 - cut]


def fit(rows: Rows) -> Fit:
    """The law of some runs.

    Args:
        rows: (parameters, tokens, loss in nats per token), at least 8 with 3 sizes and 3 lengths.
    """
    points = [(math.log(n), math.log(d), math.log(loss), 1.0) for n, d, loss in rows]
    # Drawn, not every k-th: rows are sorted, and grids of runs would leave one length for each size.
    screened = sorted(random.Random(17).sample(range(len(rows)), min(len(rows), _SCREENED)))
    some = [points[i] for i in screened]
    starts = (_descend(some, start, 4) for start in _starts(tuple(rows[i] for i in screened)))
    ranked = sorted(starts, key=lambda found: found[0])
    polished = [_descend(points, theta, 200) for _, theta in ranked[:_POLISHED]]
    objective, theta = min(polished, key=lambda found: found[0])
    return Fit(_rounded(theta), objective, tuple(_rounded(sample) for sample in _resamples(points, theta)))


def _rounded(theta: Vector) -> tuple[float, float, float, float, float]:
    a, b, e, alpha, beta = theta
    return (
        float(f"{math.exp(e):.6g}"),
        float(f"{math.exp(a):.6g}"),
        float(f"{math.exp(b):.6g}"),
        float(f"{alpha:.6g}"),
        float(f"{beta:.6g}"),
    )


def _starts(rows: Rows) -> list[Vector]:
    """For each pair of exponents the linear fit of E, A and B, each term relative to the loss as the objective weighs it."""
    found = []
    for alpha in _EXPONENTS:
        for beta in _EXPONENTS:
            columns = [(1 / loss, n**-alpha / loss, d**-beta / loss) for n, d, loss in rows]
            normal = [[math.fsum(c[i] * c[j] for c in columns) for j in range(3)] for i in range(3)]
            scale = [math.sqrt(normal[i][i]) for i in range(3)]
            scaled = [
                [normal[i][j] / (scale[i] * scale[j]) + (1e-9 if i == j else 0.0) for j in range(3)] for i in range(3)
            ]
            right = [math.fsum(c[i] for c in columns) / scale[i] for i in range(3)]
            solved = _solve(scaled, right)
            e, a, b = (max(value / scale[i], _SMALLEST) for i, value in enumerate(solved))
            found.append([math.log(a), math.log(b), math.log(e), alpha, beta])
    return found


def _descend(points: Points, theta: Vector, rounds: int) -> tuple[float, Vector]:
    """Levenberg-Marquardt on reweighted squares: Huber's loss is a square with weight min(1, delta/|r|)."""
    damping = 1e-3
    value, gradient, curvature = _model(points, theta)
    for _ in range(rounds):
        step = _solve(
            [[curvature[i][j] * (1 + damping * (i == j)) + 1e-15 * (i == j) for j in range(5)] for i in range(5)],
            [-g for g in gradient],
        )
        trial = [t + s for t, s in zip(theta, step, strict=True)]
        new = _model(points, trial) if max(map(abs, step)) < 50 else (math.inf, gradient, curvature)
        if new[0] < value:
            done = value - new[0] <= 1e-12 * value
            theta, (value, gradient, curvature) = trial, new
            damping = max(damping / 4, 1e-12)
            if done:
                break
        else:
            damping *= 8
            if damping > 1e12:
                break
    return value, theta


def _model(points: Points, theta: Vector) -> tuple[float, Vector, list[Vector]]:
    """Objective, gradient and Gauss-Newton curvature with analytic derivatives; points are (ln N, ln D, ln L, weight)."""
    a, b, e, alpha, beta = theta
    value, gradient = 0.0, [0.0] * 5
    curvature = [[0.0] * 5 for _ in range(5)]
    exp, log = math.exp, math.log
    for log_n, log_d, log_loss, count in points:
        u, v = a - alpha * log_n, b - beta * log_d
        top = max(u, v, e)
        if not -1e4 < top < 1e4:
            return math.inf, gradient, curvature
        x, y, z = exp(u - top), exp(v - top), exp(e - top)
        total = x + y + z
        r = top + log(total) - log_loss
        size = abs(r)
        weight = count if size <= DELTA else count * DELTA / size
        value += 0.5 * count * r * r if size <= DELTA else count * DELTA * (size - 0.5 * DELTA)
        p, q = x / total, y / total
        slopes = (p, q, z / total, -p * log_n, -q * log_d)
        for i in range(5):
            w = weight * slopes[i]
            gradient[i] += w * r
            row = curvature[i]
            for j in range(i + 1):
                row[j] += w * slopes[j]
    for i in range(5):
        for j in range(i):
            curvature[j][i] = curvature[i][j]
    return value, gradient, curvature


def _resamples(points: Points, theta: Vector) -> list[Vector]:
    """The fit of runs drawn with replacement, from the whole fit on. Python's own generator is the same everywhere."""
    draw = random.Random(17)
    found = []
    least, most = _RESAMPLES
    for _ in range(min(most, max(least, 6000 // len(points)))):
        counts = [0.0] * len(points)
        for _ in points:
            counts[int(draw.random() * len(points))] += 1
        sample = [(n, d, loss, count) for (n, d, loss, _), count in zip(points, counts, strict=True) if count]
        found.append(_descend(sample, theta, 15)[1])
    return found


def _solve(matrix: list[Vector], right: Vector) -> Vector:
    """Gaussian elimination with pivoting; a direction that the matrix doesn't know stays 0."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        head = rows[i][i]
        if abs(head) < 1e-300:
            continue
        for k in range(i + 1, size):
            factor = rows[k][i] / head
            if factor:
                rows[k] = [x - factor * y for x, y in zip(rows[k], rows[i], strict=True)]
    solved = [0.0] * size
    for i in reversed(range(size)):
        rest = rows[i][size] - sum(rows[i][j] * solved[j] for j in range(i + 1, size))
        solved[i] = rest / rows[i][i] if abs(rows[i][i]) >= 1e-300 else 0.0
    return solved
