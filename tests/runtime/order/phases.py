"""Phases written by hand, and the orders of their sources: what the tests of the order share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from runtime.order.run_order import RunOrder
from runtime.order.shuffled import ShuffledOrder
from schemas.plan import PhasePlan

LENGTH = 16

SAMPLES, OFFSETS = {"web": 10, "code": 17, "math": 3}, {"web": 100, "code": 200, "math": 300}


def phases_of(*phases: Mapping[str, int]) -> tuple[PhasePlan, ...]:
    """Phases by samples of each source."""
    found, start = [], 0
    for number, counts in enumerate(phases):
        end = start + sum(counts.values()) * LENGTH
        shares = {name: {"samples": samples, "tokens": samples * LENGTH} for name, samples in counts.items()}
        phase = {"id": f"phase{number}", "start_token": start, "end_token": end, "sources": shares}
        found.append(PhasePlan.model_validate(phase))
        start = end
    return tuple(found)


PHASES = phases_of({"web": 21, "code": 11}, {"web": 5, "code": 26, "math": 1})


def order_of(
    phases: Sequence[PhasePlan], samples: Mapping[str, int], *, seed: int = 5, block: int = 4, shard: int = 3
) -> RunOrder:
    """The order of a run whose sources have ids from 0, 1,000,000, ... on by name."""
    orders, offsets = {}, {}
    for number, (name, size) in enumerate(sorted(samples.items())):
        shards = np.full(-(-size // shard), shard)
        shards[-1] = size - shard * (len(shards) - 1)
        orders[name] = ShuffledOrder(name, seed, shards, block)
        offsets[name] = number * 1_000_000
    return RunOrder(phases, orders, offsets)
