"""LoRA against full fine-tuning: what is learnt, what is forgotten (Biderman et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.evidence.base import named, sequence
from benchmarks.evidence.experiment import Contrast, Experiment, Recipe
from benchmarks.evidence.harness import Finished

__all__ = ["EXPERIMENT"]

_BASE_STEPS: Final = 300
_STEPS: Final = 150
_RANK: Final = 8
_FULL_LR: Final = 1e-3
_LORA_LR: Final = 1e-2
"""Ten times that of full fine-tuning, as the paper finds best (section 4.7)."""


def _arms(seed: int) -> Mapping[str, Recipe]:
    base = named("base", 201, _BASE_STEPS, data={"mixture": [{"from": "0dur", "weights": {"code": 0.0, "prose": 1.0}}]})

    def adapted(lr: float, **training: Any) -> Recipe:
        run = named(
            "adapted", seed, _STEPS,
            model={"start": {"run": "base"}},
            training={"optimizer": {"lr": lr}, **training},
            evaluation={"retention": ["prose"]},
        )  # fmt: skip
        recipe = sequence([{**base, "evaluation": {"retention": ["code"]}}, run])
        recipe["data"]["mixture"] = [{"from": "0dur", "weights": {"code": 1.0, "prose": 0.0}}]
        return recipe

    return {"full": adapted(_FULL_LR), "LoRA": adapted(_LORA_LR, adapter={"rank": _RANK})}


def _measure(finished: Finished) -> dict[str, float]:
    return {
        "learnt (code)": finished.loss("code", "untrained") - finished.loss("code"),
        "forgotten (prose)": finished.loss("prose") - finished.loss("prose", "untrained"),
    }


EXPERIMENT: Final = Experiment(
    name="adapters",
    title="LoRA learns less and forgets less than full fine-tuning",
    source="Biderman et al. 2024 (arXiv 2405.09673)",
    setting=(
        f"A base model of {_BASE_STEPS} steps on prose alone is trained on code for {_STEPS} steps: all weights at a learning "
        f"rate of {_FULL_LR:g}, or adapters of rank {_RANK} (alpha {2 * _RANK}, all linear layers) at {_LORA_LR:g}. Learnt is "
        "the held-out loss that code loses, forgotten is what prose gains, in nats per token."
    ),
    arms=_arms,
    measure=_measure,
    contrasts=(
        Contrast("learnt (code)", "LoRA", "full", "below", "LoRA learns less"),
        Contrast("forgotten (prose)", "LoRA", "full", "below", "LoRA forgets less"),
    ),
)
