"""The order of each source of a plan: shuffled shard by shard, or paced by its curriculum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.order.base import Ids, SourceOrder
from runtime.order.paced import PacedOrder
from runtime.order.ranking import ChanceRanking, Pool, Ranking, ScoreRanking, shared_pools
from runtime.order.shuffled import ShuffledOrder
from runtime.order.timeline import Timeline
from schemas.plan import DataPlan

__all__ = ["source_orders"]


def source_orders(
    data: DataPlan, seed: int, shards: Mapping[str, Ids], scores: Mapping[str, Path]
) -> dict[str, SourceOrder]:
    """Orders by source.

    Args:
        data: the plan's.
        seed: the plan's.
        shards: by source with at least one sample: samples of each shard, [shards].
        scores: by source with a curriculum: folder of its score step.

    Raises:
        DataError: the scores are missing, or not those of these samples (RC408).
    """
    shuffled = {name: ShuffledOrder(name, seed, sizes, data.shuffle_block) for name, sizes in shards.items()}
    rankings: dict[str, Ranking] = {
        name: ChanceRanking(shuffled[name].samples, seed, name)
        if plan.order == "random"
        else ScoreRanking.open(plan, scores[name], name, shuffled[name].samples)
        for name, plan in data.curricula.items()
        if name in shuffled
    }
    together = {
        name: ranking
        for name, ranking in rankings.items()
        if data.curricula[name].scope == "mix" and isinstance(ranking, ScoreRanking)
    }
    pools = shared_pools(together) if together else {}
    paced = {
        name: PacedOrder(
            name, seed, data.curricula[name], ranking, pools.get(name, Pool(ranking.samples)),
            Timeline.of(data.phases, name), later=shuffled[name],
        )
        for name, ranking in rankings.items()
    }  # fmt: skip
    return {**shuffled, **paced}
