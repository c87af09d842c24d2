"""A source in the order of a curriculum: easy samples first, harder ones as its pacing lets them, each once a pass."""

from __future__ import annotations

import numpy as np

from runtime.order.base import Ids, SourceOrder
from runtime.order.permutation import Permutation
from runtime.order.ranking import SHARES, Pool, Ranking
from runtime.order.timeline import Timeline
from schemas.curriculum import CurriculumPlan, competence

__all__ = ["PacedOrder"]

_GOLDEN = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio."""
_LEAST_PIECE = 8
_PIECES_PER_LENGTH = 128
"""A piece is a 128th of the draws before it: 1,900 pieces for 10^9 samples, whose last draw is 0.8 % behind the pacing."""


class PacedOrder:
    """Draws of one source, paced; a function of its arguments alone, and of the phases only up to the draw asked for.

    Ranks are cut into `buckets` equal groups. A pass over the source is cut into pieces, growing from 8 draws by 1/128 of the
    draws before them, which depends on nothing else. A piece draws from each bucket in proportion to its samples that the
    competence at the piece's first token lets in and that this pass has not drawn yet; where these are too few, the next
    in rank come as well. The order within a piece and that within a bucket are random. From the end of the curriculum on
    the rest of the pass is one piece, and later passes are `later`'s.

    Args:
        name: of the source.
        seed: the plan's.
        plan: the source's curriculum.
        ranking: its samples by rank.
        pool: how many ranks a competence lets in.
        timeline: when its draws come.
        later: order of the passes that begin after the curriculum's end.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        plan: CurriculumPlan,
        ranking: Ranking,
        pool: Pool,
        timeline: Timeline,
        later: SourceOrder,
    ) -> None:
        self.samples = ranking.samples
        self._name, self._seed, self._plan = name, seed, plan
        self._ranking, self._pool, self._timeline, self._later = ranking, pool, timeline, later
        self._bounds = np.arange(plan.buckets + 1, dtype=np.int64) * self.samples // plan.buckets
        self._pass: tuple[int, _Pass | None] = (-1, None)

    def draws(self, start: int, stop: int) -> Ids:
        """Sample numbers of the draws start to stop (exclusive), counted over the whole run; draw k is of pass k // samples."""
        if stop <= start:
            return np.empty(0, np.int64)
        parts = []
        for number in range(start // self.samples, -(-stop // self.samples)):
            begin = number * self.samples
            low, high = max(start, begin), min(stop, begin + self.samples)
            paced = self._paced(number)
            if paced is None:
                parts.append(self._later.draws(low, high))
            else:
                parts.append(self._ranking.at(paced.ranks(np.arange(low - begin, high - begin, dtype=np.int64))))
        return np.concatenate(parts)

    def _paced(self, number: int) -> _Pass | None:
        """A pass; None where the curriculum ended before it."""
        if self._pass[0] != number:
            self._pass = number, self._begin(number)
        return self._pass[1]

    def _begin(self, number: int) -> _Pass | None:
        starts = _starts(self.samples)
        tokens = self._timeline.token_of(starts + number * self.samples)
        if tokens[0] >= self._plan.end_token:
            return None
        # The first piece that begins after the end takes in all that is left.
        ended = int(np.searchsorted(tokens, self._plan.end_token, side="left"))
        starts, tokens = starts[: ended + 1], tokens[: ended + 1]
        pools = np.array([self._pool.size(int(competence(self._plan, float(token)) * SHARES)) for token in tokens])
        return _Pass(self._bounds, starts, pools, (self._seed, self._name, number))


class _Pass:
    """One pass in ranks: a table of the draws of each piece from each bucket.

    Args:
        bounds: first rank of each bucket and the number of ranks, [buckets + 1].
        starts: first draw of each piece, [pieces].
        pools: ranks that each piece may draw from, [pieces].
        keys: what the permutations depend on.
    """

    def __init__(self, bounds: Ids, starts: Ids, pools: Ids, keys: tuple[object, ...]) -> None:
        self._bounds, self._starts, self._keys = bounds, starts, keys
        self._drawn = self._table(pools)
        self._inside: dict[int, Permutation] = {}

    def _table(self, pools: Ids) -> Ids:
        """Draws of each bucket before each piece, [pieces + 1, buckets]."""
        bounds, sizes = self._bounds, np.diff(self._bounds)
        drawn = np.zeros((len(pools) + 1, len(sizes)), np.int64)
        lengths = np.diff(np.append(self._starts, bounds[-1]))
        for piece, (length, pool) in enumerate(zip(lengths.tolist(), pools.tolist(), strict=True)):
            left = sizes - drawn[piece]
            ready = np.clip(np.minimum(pool - bounds[:-1], sizes) - drawn[piece], 0, None)
            drawn[piece + 1] = drawn[piece] + _shared_out(length, ready, left, piece)
        return drawn

    def ranks(self, draws: Ids) -> Ids:
        """Ranks of rising draw numbers of the pass, one or more."""
        buckets, places = np.empty_like(draws), np.empty_like(draws)
        pieces = np.searchsorted(self._starts, draws, side="right") - 1
        for piece in np.unique(pieces).tolist():
            mine = slice(*np.searchsorted(pieces, (piece, piece + 1)).tolist())
            buckets[mine], places[mine] = self._turns(piece, draws[mine] - self._starts[piece])
        ranks = self._bounds[buckets]
        by_bucket = np.argsort(buckets, kind="stable")
        present, firsts = np.unique(buckets[by_bucket], return_index=True)
        for bucket, here in zip(present.tolist(), np.split(by_bucket, firsts[1:]), strict=True):
            ranks[here] += self._within(bucket)(places[here])
        return ranks

    def _turns(self, piece: int, draws: Ids) -> tuple[Ids, Ids]:
        """Bucket of draws of a piece, and which draw of the bucket each is: a permutation of the piece's draws tells."""
        before, after = self._drawn[piece], self._drawn[piece + 1]
        edges = np.concatenate([[0], np.cumsum(after - before)])
        turns = Permutation(int(edges[-1]), *self._keys, "piece", piece)(draws)
        buckets = np.searchsorted(edges, turns, side="right") - 1
        return buckets, before[buckets] + turns - edges[buckets]

    def _within(self, bucket: int) -> Permutation:
        if bucket not in self._inside:
            size = int(self._bounds[bucket + 1] - self._bounds[bucket])
            self._inside[bucket] = Permutation(size, *self._keys, "bucket", bucket)
        return self._inside[bucket]


def _shared_out(length: int, ready: Ids, left: Ids, piece: int) -> Ids:
    """Draws of a piece over buckets, [buckets]: what is ready in proportion, rounded down or up.

    Systematic sampling: the buckets lie end to end on a line, and every `total / length` of it, from an offset on, is a draw.
    The offsets of the pieces are multiples of the golden ratio, so that what is rounded up in one is not in the next.

    Args:
        length: draws of the piece, at most sum(left).
        ready: samples of each bucket that may be drawn, [buckets].
        left: samples of each bucket that this pass has not drawn, [buckets], at least as many.
        piece: its number.
    """
    total = int(ready.sum())
    if length >= total:
        rest = left - ready
        before = np.cumsum(rest) - rest
        return np.asarray(ready + np.clip(length - total - before, 0, rest), np.int64)
    offset = (piece * _GOLDEN % (1 << 64)) * total >> 64
    edges = np.cumsum(ready)
    # Whole numbers of 64 bits hold sources of up to some 10^10 samples; beyond that Python's own.
    line = edges.astype(object) * length if length * total >= 1 << 62 else edges * length
    return np.diff(((line + offset) // total).astype(np.int64), prepend=0)


def _starts(samples: int) -> Ids:
    """First draws of the pieces of a pass; they depend on its length alone."""
    starts, start = [], 0
    while start < samples:
        starts.append(start)
        start += max(_LEAST_PIECE, start // _PIECES_PER_LENGTH)
    return np.array(starts, np.int64)
