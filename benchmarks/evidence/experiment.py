"""What an experiment is: arms that differ in one thing, measures read from finished runs, and contrasts with a claimed sign."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["Contrast", "Experiment", "Measures", "Recipe", "Verdict", "judged"]

Recipe = dict[str, Any]
"""A recipe as plain values, written to YAML before it is compiled."""

Measures = Mapping[str, float]
"""What one finished run shows, by name."""

Results = Mapping[str, Sequence[Measures]]
"""By arm, one entry a seed, in the same order of seeds for each arm."""

_CERTAIN: Final = 2.0
"""Standard errors of the mean that a difference has to be away from zero to be called one."""


@dataclass(frozen=True)
class Contrast:
    """A published direction: `measure` of arm `left` minus that of arm `right` is below or above zero.

    Args:
        measure: name of a number of `Experiment.measure`.
        left, right: names of arms.
        claim: sign of the difference that the source reports.
        says: the finding in words.
    """

    measure: str
    left: str
    right: str
    claim: Literal["below", "above"]
    says: str


@dataclass(frozen=True)
class Experiment:
    """One question.

    Args:
        name: of the section and of files.
        title, source: heading, and who reported the finding.
        setting: how it was asked, in Markdown.
        arms: seed -> the recipes to compare, by name. Recipes of one seed share what they have in common: runs with equal
            plans are done once.
        measure: a finished plan's folder -> numbers.
        contrasts: what is compared.
    """

    name: str
    title: str
    source: str
    setting: str
    arms: Callable[[int], Mapping[str, Recipe]]
    measure: Callable[[Any], Measures]
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True)
class Verdict:
    """A contrast with its paired differences over the seeds: mean, standard deviation, and what they say of the claim."""

    contrast: Contrast
    mean: float
    spread: float
    says: Literal["as reported", "the other way", "not told apart"]


def judged(contrast: Contrast, results: Results) -> Verdict:
    """Differences are taken seed by seed, since a seed moves all arms alike (first weights, order of samples)."""
    pairs = zip(results[contrast.left], results[contrast.right], strict=True)
    differences = [left[contrast.measure] - right[contrast.measure] for left, right in pairs]
    mean = statistics.fmean(differences)
    spread = statistics.stdev(differences) if len(differences) > 1 else float("inf")
    if abs(mean) <= _CERTAIN * spread / len(differences) ** 0.5:
        return Verdict(contrast, mean, spread, "not told apart")
    return Verdict(
        contrast, mean, spread, "as reported" if (mean < 0) == (contrast.claim == "below") else "the other way"
    )
