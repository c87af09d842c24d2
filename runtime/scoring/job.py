"""What there is to score, as one value that can be sent to other processes and machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.scoring.corpus import Corpus, ScoredText
from runtime.scoring.registry import Scorer
from runtime.scoring.scores import Scores
from runtime.scoring.store import ScoreStore, digests_of
from schemas.curriculum import Metric

__all__ = ["ScoringJob", "score", "unscored"]


@dataclass(frozen=True)
class ScoringJob:
    """Documents, and the metric that they are to be scored by.

    Args:
        name: of the source.
        corpus: its documents.
        table: which of them are in the train split.
        metric: what they are scored by.
        model: folder of the model that reads, for metrics that need one.
        settings: what the scores depend on; finds the store.
        folder: of all scores.
    """

    name: str
    corpus: Corpus
    table: Path
    metric: Metric
    model: Path | None
    settings: dict[str, Any]
    folder: Path

    @property
    def store(self) -> ScoreStore:
        """Where the scores are kept."""
        return ScoreStore(self.folder, self.settings)


def unscored(chunk: Sequence[ScoredText], scores: Scores) -> list[ScoredText]:
    """The documents of a chunk that are trained on and have no score yet; they count as scored from now on."""
    wanted = scores.claim(digests_of([document.digest for document in chunk]))
    return [document for document, is_wanted in zip(chunk, wanted, strict=True) if is_wanted]


def score(chunk: Sequence[ScoredText], scorer: Scorer, store: ScoreStore) -> list[float]:
    """Score the documents of a chunk and store what came out."""
    found = scorer([document.text for document in chunk])
    store.write(digests_of([document.digest for document in chunk]), np.array(found, np.float32))
    return found
