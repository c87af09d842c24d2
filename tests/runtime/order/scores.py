"""Scores written as a score step writes them: what the tests of paced orders share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from runtime.order.paced import PacedOrder
from runtime.order.ranking import Pool, ScoreRanking
from runtime.order.shuffled import ShuffledOrder
from runtime.order.timeline import Timeline
from schemas.curriculum import CurriculumPlan
from tests.runtime.order.phases import LENGTH, phases_of

__all__ = ["curriculum_plan", "paced", "write_scores"]


def curriculum_plan(**changes: Any) -> CurriculumPlan:
    """A curriculum by length, square root, over 1000 tokens; `changes` go on top."""
    said = {
        "metric": "length", "model": None, "order": "easy_to_hard", "pacing": "sqrt", "start": 0.01, "end_token": 1000,
        "power": 2.0, "growth": 1.0, "stages": 1, "buckets": 10, "scope": "source",
    }  # fmt: skip
    return CurriculumPlan.model_validate({**said, **changes})


def write_scores(folder: Path, values: ArrayLike, metric: str = "length") -> Path:
    """A score step's arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = np.asarray(values, np.float32)
    np.save(folder / f"{metric}.npy", scores)
    np.save(folder / f"{metric}.order.npy", np.argsort(scores, kind="stable").astype(np.int64))
    return folder


def paced(folder: Path, samples: int, draws: int, plan: CurriculumPlan, *, seed: int = 3) -> PacedOrder:
    """The order of a source with written scores, which a run draws from at an even rate."""
    phases = phases_of({"web": draws})
    assert phases[-1].end_token == draws * LENGTH
    later = ShuffledOrder("web", seed, np.array([samples]), 1 << 18)
    ranking = ScoreRanking.open(plan, folder, "web", samples)
    return PacedOrder("web", seed, plan, ranking, Pool(samples), Timeline.of(phases, "web"), later)
