"""The step `compare`: what the run's techniques did to each class, against a reference, on the held-out samples."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.steps.base import Context, Inputs, results_of
from schemas.evaluation import BiasPlan
from schemas.plan import RunPlan, Step

if TYPE_CHECKING:
    from runtime.bias.comparison import Prediction
    from runtime.bias.heldout import HeldOut
    from runtime.bias.models import Load

__all__ = ["identity", "run"]

_FORMAT: Final = 1
_LIMITS: Final = {"max_cev", "max_sde"}


def identity(step: Step, context: Context, inputs: Inputs) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """Reference and replicates by content; weights and samples are inputs. The limits only judge what was measured."""
    from runtime.bias.models import pins

    plan, layout = context.plan, context.layout
    bias = _bias(plan)
    return {
        "format": _FORMAT,
        "bias": bias.model_dump(mode="json", exclude=_LIMITS),
        "precision": plan.precision.model_dump(mode="json"),
        "model": plan.model.model_dump(mode="json"),
        "pins": pins(bias, plan, layout),
    }


def run(step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """Compare the trained model, and what is shipped of it, with the reference, and draw `bias.svg`.

    Returns:
        The values of `runtime.bias.comparison.compare` for the model that is exported, and those of each `stages`; `judged` is
        the stage that is exported, `against` names the reference.

    Raises:
        DataError: a shard is damaged (RC408), the reference can't be read (RC401) or has another tokenizer (RC406).
        RunFailed: a model is not there (RC606); nothing is held out, or a class has no relative change (RC610).
    """
    from runtime.bias.comparison import compare
    from runtime.bias.heldout import held_out
    from runtime.bias.models import reference, stages
    from runtime.bias.picture import PICTURE, draw_bias

    plan, layout = context.plan, context.layout
    bias = _bias(plan)
    prepared = {str(r.values["source"]): r for r in results_of("prepare", plan, inputs)}
    tokenizers = results_of("tokenizer", plan, inputs)
    samples = held_out(plan, bias, prepared, layout.cache)
    said = _predict(reference(bias, plan, layout, tokenizers[0].folder if tokenizers else None, samples.names), samples)
    found: dict[str, Any] = {}
    for stage, loads in stages(bias, plan, layout).items():
        replicates = [_predict(load, samples) for load in loads]
        found[stage] = compare(samples.truth, samples.names, said, replicates, bias)
        found[stage]["pie_samples"] = [samples.place(number) for number in found[stage]["pie_samples"]]
    judged = list(found)[-1]
    values = {"against": name_of(bias), "judged": judged, **found[judged], "stages": _brief(found)}
    if not draw_bias(values, f"{plan.name}: {judged} against {values['against']}", layout.run / PICTURE):
        (layout.run / PICTURE).unlink(missing_ok=True)
    return values


def name_of(bias: BiasPlan) -> str:
    """The reference, for people."""
    return {"start": "its start", "uncompressed": "the uncompressed model"}.get(
        bias.against, str(bias.run or bias.folder)
    )


def _brief(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What reports show of each stage."""
    kept = ("cev", "sde", "pie", "pie_share", "accuracy", "exact", "confusion")
    return {stage: {key: values[key] for key in kept} for stage, values in stages.items()}


def _bias(plan: RunPlan) -> BiasPlan:
    assert plan.evaluation.bias is not None, "a plan without it has no such step"
    return plan.evaluation.bias


def _predict(load: Load, samples: HeldOut) -> Prediction:
    """Predictions of a model, which is gone afterwards."""
    try:
        return samples.predict(load())
    finally:
        gc.collect()
