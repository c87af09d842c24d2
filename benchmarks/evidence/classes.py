"""Pruning raises class-wise bias, distillation lowers it (Blakeney et al. 2021, "Simon Says"), on scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.evidence.experiment import Contrast, Experiment, Recipe
from benchmarks.evidence.harness import Finished

__all__ = ["EXPERIMENT"]

_PARENT_EPOCHS: Final = 15
_EPOCHS: Final = 10
_SPARSITIES: Final = (0.5, 0.8)


def _arms(seed: int) -> Mapping[str, Recipe]:
    def pruned(sparsity: float | None, taught: bool) -> Recipe:
        run: Recipe = {
            "name": "pruned",
            "model": {"start": {"run": "parent"}},
            "training": {"duration": f"{_EPOCHS}ep", "optimizer": {"lr": 1e-3}},
            "evaluation": {"bias": {"against": "parent"}},
        }
        if sparsity is not None:
            run["compression"] = [
                {"kind": "pruning", "sparsity": sparsity, "start": "0dur", "end": "0.5dur", "interval": "2ba"}
            ]
        if taught:
            run["distillation"] = {"teacher": {"run": "parent"}, "temperature": 4.0, "weight": 0.9, "end": "1dur"}
        return {
            "name": "evidence-digits",
            "seed": seed,
            "objective": "classification",
            "model": {"family": "resnet", "depth": 8, "width": 8, "stem": "small"},
            "data": {"sources": {"digits": {"builtin": "digits"}}},
            "training": {"batch": 64, "duration": f"{_PARENT_EPOCHS}ep", "optimizer": {"kind": "adamw", "lr": 3e-3}},
            "evaluation": {"holdout": 0.6, "interval": "1dur"},
            "checkpoints": {"export": False, "interval": "1dur", "keep": 1},
            "logging": {"console": False, "interval": "20ba"},
            "launch": {"workers": 0},
            "sequence": [{"name": "parent"}, run],
        }

    arms = {"as long, not pruned": pruned(None, taught=False)}
    for sparsity in _SPARSITIES:
        arms[f"pruned {sparsity:.0%}"] = pruned(sparsity, taught=False)
        arms[f"pruned {sparsity:.0%}, distilled"] = pruned(sparsity, taught=True)
    return arms


def _measure(finished: Finished) -> dict[str, float]:
    found = finished.values("compare")
    return {"CEV": found["cev"], "SDE": found["sde"], "accuracy": found["accuracy"]["model"]}


_HIGH: Final = f"pruned {_SPARSITIES[-1]:.0%}"

EXPERIMENT: Final = Experiment(
    name="classes",
    title="Pruning raises CEV and SDE, distillation lowers them (digits)",
    source="Blakeney et al. 2021 (arXiv 2106.07849)",
    setting=(
        f"A ResNet of 8 layers and width 8 on scikit-learn's digits, 60 % of them held out, {_PARENT_EPOCHS} epochs; "
        f"then {_EPOCHS} from its weights at a third of the learning rate, with magnitude pruning in their first half, with and "
        "without the parent as teacher (T = 4, weight 0.9). CEV and SDE against the parent, paper's convention."
    ),
    arms=_arms,
    measure=_measure,
    contrasts=(
        Contrast("CEV", _HIGH, "as long, not pruned", "above", f"{_HIGH} raises CEV"),
        Contrast("SDE", _HIGH, "as long, not pruned", "above", f"{_HIGH} raises SDE"),
        Contrast("CEV", f"{_HIGH}, distilled", _HIGH, "below", "distillation lowers CEV"),
        Contrast("SDE", f"{_HIGH}, distilled", _HIGH, "below", "distillation lowers SDE"),
    ),
)
