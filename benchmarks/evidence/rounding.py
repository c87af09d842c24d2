"""Training with rounded weights (QAT) against rounding afterwards (PTQ), at four bits (Jacob et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.evidence.base import named, sequence
from benchmarks.evidence.experiment import Contrast, Experiment, Recipe
from benchmarks.evidence.harness import Finished

__all__ = ["EXPERIMENT"]

_STEPS: Final = 100
_GROUP: Final = 32


def _arms(seed: int) -> Mapping[str, Recipe]:
    base = named("teacher", 101, 400)

    def shipped(mode: str) -> Recipe:
        rounded = {
            "kind": "quantization",
            "mode": mode,
            "weights": "int4",
            "granularity": "group",
            "group_size": _GROUP,
        }
        run = named(
            "shipped", seed, _STEPS,
            model={"start": {"run": "teacher"}},
            training={"optimizer": {"lr": 3e-4}},
            compression=[rounded],
        )  # fmt: skip
        return sequence([base, run])

    return {"QAT": shipped("qat"), "PTQ": shipped("ptq")}


def _measure(finished: Finished) -> dict[str, float]:
    def mean(when: str) -> float:
        return (finished.loss("code", when) + finished.loss("prose", when)) / 2

    return {"loss of the int4 model": mean("shipped"), "lost by rounding": mean("shipped") - mean("trained")}


EXPERIMENT: Final = Experiment(
    name="rounding",
    title="QAT against PTQ at int4",
    source="Jacob et al. 2018 (arXiv 1712.05877), Krishnamoorthi 2018 (arXiv 1806.08342)",
    setting=(
        f"A trained model goes on for {_STEPS} steps at a tenth of its learning rate, with plain weights that are rounded at "
        f"the end (PTQ) or with rounded weights in each forward pass (QAT). int4, one scale for {_GROUP} weights. Same steps, "
        "same data."
    ),
    arms=_arms,
    measure=_measure,
    contrasts=(
        Contrast("loss of the int4 model", "QAT", "PTQ", "below", "QAT ships the better model"),
        Contrast("lost by rounding", "QAT", "PTQ", "below", "QAT loses less by rounding"),
    ),
)
