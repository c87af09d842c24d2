"""What documents can be scored by: each metric of the recipe with its function, and all that its numbers depend on."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runtime.scoring import lexical, readability
from runtime.scoring.compression import ZSTD_LEVEL, compression_ratio
from runtime.scoring.words import words_of
from schemas.curriculum import Metric

__all__ = ["METRICS", "MetricRule", "Scorer", "open_scorer", "settings"]

Scorer = Callable[[Sequence[str]], list[float]]
"""Scores of documents in their order; NaN where a metric is not defined, such as MTLD of five words."""

# MTLD of shorter texts depends on chance more than on the words (McCarthy and Jarvis 2010 used 100 and more).
_FEWEST_WORDS_OF_MTLD: Final = 50


@dataclass(frozen=True)
class MetricRule:
    """How a metric is computed.

    Args:
        version: raised when the same text gets another number; stored scores of older versions are not used any more.
        open: makes the scorer; takes the folder of the model that reads, for metrics that need one.
        settings: what else the numbers depend on, as JSON values.
    """

    version: int
    open: Callable[[Path | None], Scorer]
    settings: Callable[[Path | None], dict[str, Any]] = lambda _: {}


def _each(score: Callable[[str], float]) -> Callable[[Path | None], Scorer]:
    return lambda _: lambda texts: [score(text) for text in texts]


def _words(score: Callable[[Sequence[str]], float], fewest: int = 1) -> Callable[[Path | None], Scorer]:
    def one(text: str) -> float:
        words = words_of(text)
        return score(words) if len(words) >= fewest else math.nan

    return _each(one)


def _loss(model: Path | None) -> Scorer:
    from runtime.scoring.loss import LossScorer

    assert model is not None
    return LossScorer(model)


def _loss_settings(model: Path | None) -> dict[str, Any]:
    from runtime.models.folders import content
    from runtime.scoring.loss import MOST_TOKENS

    assert model is not None
    return {"model": content(model), "window": MOST_TOKENS}


def _of_package(name: str, **more: Any) -> Callable[[Path | None], dict[str, Any]]:
    return lambda _: {name: importlib.metadata.version(name), **more}


METRICS: Final[Mapping[Metric, MetricRule]] = {
    # Bytes, since what a word is depends on the language.
    "length": MetricRule(1, _each(lambda text: float(len(text.encode())))),
    "unigram_entropy": MetricRule(1, _words(lexical.unigram_entropy)),
    "compression_ratio": MetricRule(
        1, _each(lambda text: compression_ratio(text.encode())), _of_package("zstandard", level=ZSTD_LEVEL)
    ),
    "ttr": MetricRule(1, _words(lexical.ttr)),
    "mtld": MetricRule(1, _words(lexical.mtld, _FEWEST_WORDS_OF_MTLD)),
    "hdd": MetricRule(1, _words(lexical.hdd)),
    "vocd": MetricRule(1, _words(lexical.vocd)),
    "flesch_reading_ease": MetricRule(
        1, _each(lambda text: readability.flesch_reading_ease(readability.count(text))), _of_package("pyphen")
    ),
    "flesch_kincaid": MetricRule(
        1, _each(lambda text: readability.flesch_kincaid(readability.count(text))), _of_package("pyphen")
    ),
    "loss": MetricRule(1, _loss, _loss_settings),
}
"""Every metric of `schemas.curriculum.Metric`."""


def open_scorer(metric: Metric, model: Path | None) -> Scorer:
    """The function that scores documents by a metric.

    Raises:
        DataError: loss: the model can't be loaded (RC401), or has no tokenizer (RC406).
    """
    return METRICS[metric].open(model)


def settings(metric: Metric, model: Path | None) -> dict[str, Any]:
    """All that a document's score depends on but its text; a model counts by its content, not by its place."""
    rule = METRICS[metric]
    return {"metric": metric, "version": rule.version, **rule.settings(model)}
