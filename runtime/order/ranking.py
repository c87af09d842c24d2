"""Ranks of a source's samples by a score: which sample has a rank, and how many ranks a share of the mix lets in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError, first_line
from runtime.order.base import Ids
from runtime.order.permutation import Permutation
from schemas.curriculum import EASIER_WHEN_HIGH, CurriculumPlan

__all__ = ["SHARES", "ChanceRanking", "Pool", "Ranking", "ScoreRanking", "shared_pools"]

SHARES = 1 << 32
"""Competence is counted in these parts of 1: powers may differ in the last bit between machines, and order must not."""
_POINTS = 1 << 14
"""Ranks of a source at which its scores are compared with those of the others; all of them where it has fewer."""


class Ranking(Protocol):
    """Samples of a source by rank; rank 0 comes first."""

    @property
    def samples(self) -> int:
        """Samples of the source."""

    def at(self, ranks: Ids) -> Ids:
        """Sample numbers of ranks, same shape."""


@dataclass(frozen=True)
class ChanceRanking:
    """Ranks by chance: the control, which paces a source as its scores would, but doesn't look at them."""

    samples: int
    seed: int
    name: str

    def at(self, ranks: Ids) -> Ids:
        """Sample numbers of ranks, same shape."""
        return Permutation(self.samples, self.seed, self.name, "ranks")(ranks)


@dataclass(frozen=True)
class ScoreRanking:
    """Ranks by the arrays of a score step. Samples without a score come last, whatever the order.

    The arrays are opened when they are read, so that loader workers share them by the pages of the files.

    Args:
        samples: of the source.
        defined: of them, those that have a score.
        folder: of the score step.
        metric: the score.
        falling: the highest score comes first.
    """

    samples: int
    defined: int
    folder: Path
    metric: str
    falling: bool

    @classmethod
    def open(cls, plan: CurriculumPlan, folder: Path, name: str, samples: int) -> ScoreRanking:
        """The ranking of source `name` that a curriculum asks for.

        Raises:
            DataError: the arrays are missing, or those of other samples (RC408).
        """
        falling = (plan.order == "hard_to_easy") != (plan.metric in EASIER_WHEN_HIGH)
        ranking = cls(samples, samples, folder, plan.metric, falling)
        try:
            sizes = {len(ranking.values), len(ranking.order)}
        except (OSError, ValueError) as error:
            raise _unfit(name, folder, f"can't be read: {first_line(error)}") from error
        if sizes != {samples}:
            raise _unfit(name, folder, f"are of {min(sizes):,} samples, the source has {samples:,}")
        # Undefined ones are at the end of the order, so that bisection finds how many there are.
        low, high = 0, samples
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if np.isnan(ranking.values[ranking.order[middle]]) else (middle + 1, high)
        return cls(samples, low, folder, plan.metric, falling)

    @property
    def values(self) -> NDArray[np.float32]:
        """Score of each sample, [samples]; not a number where it is undefined."""
        values: NDArray[np.float32] = np.load(self.folder / f"{self.metric}.npy", mmap_mode="r")
        return values

    @property
    def order(self) -> Ids:
        """Samples by rising score, [samples]; undefined ones last."""
        order: Ids = np.load(self.folder / f"{self.metric}.order.npy", mmap_mode="r")
        return order

    def at(self, ranks: Ids) -> Ids:
        """Sample numbers of ranks, same shape."""
        places = np.where(ranks < self.defined, self.defined - 1 - ranks, ranks) if self.falling else ranks
        return np.asarray(self.order[places], np.int64)

    def keys(self, ranks: Ids) -> NDArray[np.float64]:
        """Scores of ranks as numbers that rise with the rank; infinite where undefined."""
        values = self.values[self.at(ranks)].astype(np.float64)
        return np.where(np.isnan(values), np.inf, -values if self.falling else values)


@dataclass(frozen=True)
class Pool:
    """How many ranks a share lets in: the same share of this source, or what it has of that share of the whole mix.

    Args:
        samples: of the source.
        shares: share of the mix, in `SHARES`, from which on each of these evenly spaced ranks is in, [points], rising; None
            where the source is ranked by itself.
    """

    samples: int
    shares: Ids | None = None

    def size(self, share: int) -> int:
        """Ranks that are in at a share of 0 to `SHARES`."""
        if share >= SHARES:
            return self.samples
        if self.shares is None:
            return -(-share * self.samples // SHARES)
        return int(np.searchsorted(self.shares, share, side="right")) * self.samples // len(self.shares)


def shared_pools(rankings: Mapping[str, ScoreRanking]) -> dict[str, Pool]:
    """Pools of sources that are ranked together: a share c lets in what scores up to the c-quantile of all their samples.

    Quantiles are taken over up to 16,384 exact points of each source, weighted with its samples: 100 sources of any size
    take about two seconds and, for that time, 100 MB. Samples of equal score come in evenly, source by source in proportion
    to their number.
    """
    points = {name: _points(ranking.samples) for name, ranking in rankings.items()}
    keys = {name: ranking.keys(points[name]) for name, ranking in rankings.items()}
    weights = {name: np.full(len(points[name]), r.samples / len(points[name])) for name, r in rankings.items()}
    every = np.concatenate(list(keys.values()))
    by_key = np.argsort(every, kind="stable")
    every, total = every[by_key], float(sum(ranking.samples for ranking in rankings.values()))
    below = np.concatenate([[0.0], np.cumsum(np.concatenate(list(weights.values()))[by_key])])
    pools = {}
    for name, ranking in rankings.items():
        own = keys[name]
        first, last = (np.searchsorted(own, own, side=side) for side in ("left", "right"))
        within = (np.arange(len(own)) + 1 - first) / (last - first)
        low, high = (below[np.searchsorted(every, own, side=side)] for side in ("left", "right"))
        shares = ((low + within * (high - low)) / total * SHARES).astype(np.int64)
        pools[name] = Pool(ranking.samples, np.maximum.accumulate(shares))
    return pools


def _points(samples: int) -> Ids:
    """Last ranks of up to `_POINTS` equal parts."""
    parts = min(samples, _POINTS)
    return (np.arange(1, parts + 1, dtype=np.int64) * samples) // parts - 1


def _unfit(name: str, folder: Path, found: str) -> DataError:
    return DataError("RC408", f"the scores of `{name}` in {folder} {found}", f"delete {folder} and run again")
