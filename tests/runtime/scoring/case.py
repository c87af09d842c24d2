"""A source that is prepared and scored, without the executor: what the tests of the score step share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.steps import score
from runtime.steps.base import Context, Result
from schemas.plan import RunPlan, Step
from tests.runtime.corpus import context_of, plan_of, run_prepare

__all__ = ["FILES", "STEP", "Case", "curriculum", "scoring_plan", "values"]

FILES = {"files": "text/*.txt"}

STEP = Step(id="score-text", kind="score", inputs=("tokenizer", "prepare-text"), source="text", devices=1, seconds=1.0)


def curriculum(metric: str, **changes: Any) -> dict[str, Any]:
    """A curriculum of a plan."""
    return {
        "metric": metric, "model": None, "order": "easy_to_hard", "pacing": "sqrt", "start": 0.01, "end_token": 3072,
        "power": 2.0, "growth": 1.0, "stages": 1, "buckets": 4, "scope": "source", **changes,
    }  # fmt: skip


def scoring_plan(source: dict[str, Any], metric: str = "ttr", *, length: int = 64, **changes: Any) -> RunPlan:
    """The tiny plan on one source called `text`, scored by `metric`, with samples of 64 tokens or another length."""
    tokens = 96 * 64
    share = {"samples": tokens // length, "tokens": tokens}
    data = {
        "curricula": {"text": curriculum(metric, **changes.pop("curriculum", {}))},
        "sequence_length": length,
        "phases": [{"id": "phase0", "start_token": 0, "end_token": tokens, "sources": {"text": share}}],
        **changes.pop("data", {}),
    }
    training = {"global_batch_samples": 8 * 64 // length}
    return plan_of({"text": source}, data=data, training=training, **changes)


@dataclass
class Case:
    """One root with a tokenizer; each `scored` prepares and scores into a fresh folder."""

    root: Path
    tokenizer: Result
    number: int = 0

    def context(self, plan: RunPlan) -> Context:
        """Relative paths are below the root, and so is the cache."""
        return context_of(plan, self.root)

    def prepared(self, plan: RunPlan) -> Result:
        """Result of the prepare step."""
        self.number += 1
        folder = self.root / f"prepared-{self.number}"
        return Result("prepare-text", "1" * 16, folder, run_prepare(self.context(plan), "text", self.tokenizer, folder))

    def scored(self, plan: RunPlan, prepared: Result | None = None) -> Result:
        """Result of the score step."""
        inputs = {"tokenizer": self.tokenizer, "prepare-text": prepared or self.prepared(plan)}
        self.number += 1
        folder = self.root / f"scored-{self.number}"
        folder.mkdir()
        return Result(STEP.id, "2" * 16, folder, score.run(STEP, self.context(plan), inputs, folder))


def values(result: Result, metric: str) -> NDArray[np.float32]:
    """What the step's folder says of its samples."""
    found: NDArray[np.float32] = np.load(result.folder / f"{metric}.npy")
    return found
