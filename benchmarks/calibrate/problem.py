"""The fit as a problem of weighted robust least squares with priors: every factor is pulled towards 1.

Minimised over the logarithms t of all factors: sum of weight x rho(log(predicted/measured)) / SCALE^2 + sum of (t/prior)^2, with
rho(e) = 2 c^2 (sqrt(1 + (e/c)^2) - 1), quadratic for small and linear for large errors (soft L1), so that a few odd runs do not
bend the rest. A stack or chip with few runs keeps factors near 1: what it shares with the others is learnt from the others.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.sparse import csr_matrix

from compiler.estimate.rows.table import read_rows, workload_of
from compiler.estimate.speed.calibration import LIMITS, RATES, Rates, factor_keys, measured_share, power_ratio
from compiler.estimate.speed.timing import step_parts
from compiler.estimate.speed.work import Work, work_of
from compiler.estimate.workload import Workload

__all__ = ["RUNS", "Array", "Problem", "Run", "load", "quantile"]

Array = npt.NDArray[np.float64]
RUNS: Final = Path(__file__).parent / "runs.csv"

# An error of 2 % of a run of weight 1 counts as much as a factor one prior away from 1; beyond 6 % it counts linearly.
SCALE: Final = 0.02
ROBUST: Final = 0.06
_STEP: Final = 1e-6
# Prior width of the watts exponent around 0.5.
POWER: Final = 0.25

# How far a rate itself may lie from its guess in estimate/speed/calibration.py: standard deviation of its logarithm.
_OF_RATE: Final[Mapping[str, float]] = {
    "matmul": 0.15,
    "head": 0.2,
    "attention": 0.3,
    "bubble": 0.15,
    "overlap": 0.35,
    "link": 0.3,
    "tensor": 0.3,
    "network": 0.35,
    "logits": 0.4,
    "sync": 0.6,
    "sync_exposed": 0.7,
    "message_seconds": 0.7,
    "step_seconds": 0.7,
    "microbatch_seconds": 1.0,
    "pressure": 0.7,
}
# The same for a factor of one stack, chip or format; the rest take 0.7 of their rate's.
_OF_FACTOR: Final[Mapping[str, float]] = {
    "matmul": 0.08,
    "head": 0.08,
    "attention": 0.2,
    "pointwise": 0.25,
    "bubble": 0.3,
    "sync": 0.8,
}


@dataclass(frozen=True, slots=True)
class Run:
    """A measured row.

    Args:
        cells: as in the table.
        workload: what it becomes.
        tokens: measured tokens per second and device.
        weight: 1 over the number of near-duplicates.
    """

    cells: Mapping[str, str]
    workload: Workload
    tokens: float
    weight: float

    @property
    def top(self) -> bool:
        """Pre-training, tier A: what the marks are set on."""
        return self.cells["tier"] == "A" and self.cells["task"] == "pretrain"

    @property
    def runnable(self) -> bool:
        """A layout that Composer can run: no tensor, pipeline or context axis."""
        lay = self.workload.layout
        return lay.tensor * lay.pipeline * lay.context == 1


def load(path: Path = RUNS) -> list[Run]:
    """Rows with a measured speed that become a workload."""
    runs = []
    for row in read_rows(path):
        workload = workload_of(row)
        measured = row.cells["tokens_per_s_per_gpu"]
        if measured and isinstance(workload, Workload):
            runs.append(Run(row.cells, workload, float(measured), float(row.cells["weight"] or 1)))
    return runs


def quantile(values: Array, weights: Array, level: float) -> float:
    """Weighted quantile, linear between the middles of the weights."""
    if not len(values):
        return math.nan
    order = np.argsort(values)
    heights = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(level * weights.sum(), heights, values[order]))


def _prior(key: str) -> float:
    rate, _, what = key.partition("@")
    if not what:
        return _OF_RATE.get(rate, 0.5)
    if what in {"async", "compiled"}:
        return 0.5
    if rate == "matmul" and (what in {"rowwise", "quantised"} or what.startswith("experts")):
        return 0.4
    if rate == "matmul" and what.startswith("fp"):
        return 0.1 if " " in what else 0.2
    return _OF_FACTOR.get(rate, 0.7 * _OF_RATE.get(rate, 0.5))


class Problem:
    """Runs as arrays, and the design matrix of each rate."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs
        works = [work_of(run.workload) for run in runs]
        self.work = Work(**{f.name: _column(works, f.name) for f in fields(Work)})
        loads = [run.workload for run in runs]
        self.tokens = np.array([w.tokens_per_step / w.layout.devices for w in loads])
        self.measured = np.log([run.tokens for run in runs])
        self.weights = np.array([run.weight for run in runs])
        self._power = np.array([math.log(power_ratio(w.device)) for w in loads])
        self._share = np.array([math.log(measured_share(w)) for w in loads])
        index: dict[str, int] = {}
        pairs: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for i, workload in enumerate(loads):
            for rate, keys in factor_keys(workload).items():
                pairs[rate] += [(i, index.setdefault(key, len(index))) for key in keys]
        self.keys = list(index)
        self._design = {rate: _incidence(found, len(runs), len(index)) for rate, found in pairs.items()}
        self._priors = np.array([*(_prior(key) for key in self.keys), POWER])
        self._start = np.array([*([0.0] * len(self.keys)), 0.5])

    def _rates(self, theta: Array) -> dict[str, Any]:
        rates: dict[str, Any] = {
            rate: np.exp(math.log(guess) + self._design[rate] @ theta[:-1]) for rate, guess in RATES.items()
        }
        rates["matmul"] = rates["matmul"] * np.exp(self._share + theta[-1] * self._power)
        return rates

    def _logs(self, rates: dict[str, Any]) -> Array:
        limited = rates | {rate: np.clip(rates[rate], *LIMITS[rate]) for rate in LIMITS}
        return np.asarray(np.log(self.tokens / step_parts(self.work, Rates(**limited)).total))

    def predict(self, theta: Array) -> Array:
        """Log of tokens per second and device."""
        return self._logs(self._rates(theta))

    def _slopes(self, theta: Array) -> Array:
        """Derivative of `predict`: of each rate by a small step, of each factor by the chain rule."""
        rates = self._rates(theta)
        at = self._logs(rates)
        slopes = np.zeros((len(at), len(theta)))
        for rate in RATES:
            slope = (self._logs(rates | {rate: rates[rate] * math.exp(_STEP)}) - at) / _STEP
            slopes[:, :-1] += self._design[rate].multiply(slope[:, None]).toarray()
            if rate == "matmul":
                slopes[:, -1] = slope * self._power
        return slopes

    def errors(self, theta: Array) -> Array:
        """log(predicted/measured)."""
        return np.asarray(self.predict(theta) - self.measured)

    def fit(self, keep: npt.NDArray[np.bool_] | None = None, steps: int = 60) -> Array:
        """Factors' logarithms (the last is the watts exponent) from the runs in `keep`, all if None."""
        mask = np.ones(len(self.runs), bool) if keep is None else keep
        root = np.sqrt(self.weights[mask]) / SCALE

        def residuals(theta: Array) -> Array:
            error = self.errors(theta)[mask]
            soft = np.sign(error) * ROBUST * np.sqrt(2 * (np.sqrt(1 + (error / ROBUST) ** 2) - 1))
            return np.concatenate([root * soft, (theta - self._start) / self._priors])

        def jacobian(theta: Array) -> Array:
            bent = np.sqrt(1 + (self.errors(theta)[mask] / ROBUST) ** 2)
            # Derivative of the soft error: z / (sqrt(1 + z^2) sqrt(2 (sqrt(1 + z^2) - 1))), which is 1 at 0.
            weight = root * np.sqrt((bent + 1) / 2) / bent
            return np.concatenate([weight[:, None] * self._slopes(theta)[mask], np.diag(1 / self._priors)])

        found = least_squares(residuals, self._start, jac=jacobian, max_nfev=steps, x_scale=self._priors)
        return np.asarray(found.x)

    def held_out(self, labels: list[str], steps: int = 40) -> Array:
        """Errors on runs that the fit did not see: each label's runs are predicted by a fit to all the others."""
        names = np.array(labels)
        errors = np.full(len(self.runs), np.nan)
        for name in sorted(set(labels)):
            left_out = names == name
            errors[left_out] = self.errors(self.fit(~left_out, steps))[left_out]
        return errors

    def named(self, theta: Array) -> dict[str, float]:
        """Factors by name; those within half a per cent of 1 are left out."""
        found = {
            key: float(np.exp(value)) for key, value in zip(self.keys, theta[:-1], strict=True) if abs(value) > 5e-3
        }
        return {key: round(found[key], 3) for key in sorted(found)} | {"power": round(float(theta[-1]), 3)}


def _column(works: list[Work], name: str) -> Any:
    return np.array([float(getattr(work, name)) for work in works])


def _incidence(pairs: list[tuple[int, int]], rows: int, columns: int) -> Any:
    places = np.array(pairs)
    return csr_matrix((np.ones(len(places)), (places[:, 0], places[:, 1])), shape=(rows, columns))
