"""The order of samples: a pure function of the plan's phases, its seed and the size of each source.

Neither the number of ranks, nodes and loader workers nor an interruption enters it. A run is one epoch:

    phase 0: code prose code code prose ...    each prefix of a phase holds each source's share, to less than one sample
    code:    a permutation of its samples, then the next one; phases go on where the last one stopped
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from math import gcd
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from schemas.plan import PhasePlan

__all__ = ["Ids", "draws", "interleave", "run_order", "worker_batches"]

Ids: TypeAlias = NDArray[np.int64]


def interleave(counts: Sequence[int]) -> NDArray[np.int32]:
    """Source numbers, source i exactly counts[i] times, each prefix within less than one sample of the ideal shares.

    With N = sum(counts), the j-th sample (from 0) of source i may come at place m (from 1) only from
    m > j N / counts[i] on, and must come by m = ceil((j + 1) N / counts[i]). Serving the earliest deadline first meets
    all of them (Steiner and Yeomans 1993, level schedules), in integers, about 1 s for a million samples. Counts with a
    common divisor repeat a shorter pattern.
    """
    divisor = gcd(*counts) or 1
    pattern = _by_deadline([count // divisor for count in counts])
    return np.tile(np.array(pattern, np.int32), divisor)


def _by_deadline(counts: Sequence[int]) -> list[int]:
    total, placed, pattern = sum(counts), [0] * len(counts), []
    waiting = [(1, source) for source, count in enumerate(counts) if count]
    ready: list[tuple[int, int]] = []
    for place in range(1, total + 1):
        while waiting and waiting[0][0] <= place:
            source = heapq.heappop(waiting)[1]
            heapq.heappush(ready, (-(-(placed[source] + 1) * total // counts[source]), source))
        source = heapq.heappop(ready)[1]
        pattern.append(source)
        placed[source] += 1
        if placed[source] < counts[source]:
            heapq.heappush(waiting, (placed[source] * total // counts[source] + 1, source))
    return pattern


def draws(source: str, seed: int, samples: int, start: int, stop: int) -> Ids:
    """Draws number start..stop of a source with `samples` samples: permutation after permutation, none before its turn.

    Keys come from PCG64's raw output, which numpy promises never to change, unlike `Generator.permutation`.
    """
    name = int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big")
    rounds = []
    for number in range(start // samples, -(-stop // samples)):
        keys = np.random.PCG64(np.random.SeedSequence([seed, name, number])).random_raw(samples)
        rounds.append(np.argsort(keys, kind="stable").astype(np.int64))
    if not rounds:
        return np.empty(0, np.int64)
    skipped = start // samples * samples
    return np.concatenate(rounds)[start - skipped : stop - skipped]


def run_order(phases: Sequence[PhasePlan], seed: int, samples: Mapping[str, int], offsets: Mapping[str, int]) -> Ids:
    """Ids of all samples of a run, in the order of training.

    Args:
        phases: exact samples of each source, phase by phase.
        seed: the plan's.
        samples: unique samples of each source.
        offsets: id of each source's first sample.
    """
    drawn = dict.fromkeys(samples, 0)
    parts = []
    for phase in phases:
        names = sorted(phase.sources)
        counts = [phase.sources[name].samples for name in names]
        turns = interleave(counts)
        order = np.empty(len(turns), np.int64)
        for number, (name, count) in enumerate(zip(names, counts, strict=True)):
            if count:
                stop = drawn[name] + count
                order[turns == number] = offsets[name] + draws(name, seed, samples[name], drawn[name], stop)
                drawn[name] = stop
        parts.append(order)
    return np.concatenate(parts)


def worker_batches(order: Ids, *, start: int, batch: int, rank: int, ranks: int, worker: int, workers: int) -> Ids:
    """Samples that one loader worker of one rank reads, from sample `start` of the run on.

    Global batch k is order[k * batch : (k + 1) * batch]; each rank takes a contiguous slice of it, and a rank's workers
    take its batches in turn, as torch's DataLoader collects them.

    Args:
        order: all samples of the run; a whole number of batches.
        start: samples already trained on, by all ranks; a whole number of batches.
        batch: samples of a global batch; divisible by `ranks`.
        rank: from 0, of `ranks`.
        ranks: processes that train.
        worker: from 0, of `workers`.
        workers: loader processes of each rank; 1 where the rank loads itself.
    """
    mine = order[start:].reshape(-1, ranks, batch // ranks)[:, rank]
    return np.ascontiguousarray(mine[worker::workers]).reshape(-1)
