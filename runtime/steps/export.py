"""The step `export`: the model as it is shipped, in a Hugging Face folder with its tokenizer and a model card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from runtime.files import atomic_folder, hash_file
from runtime.models.class_names import write_names
from runtime.models.start import base_content
from runtime.record import Record, read_record
from runtime.reporting.mixture_plot import draw_mixture
from runtime.reporting.model_card import model_card
from runtime.steps.base import Context, Inputs, result_of
from schemas.plan import Step

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["identity", "run"]

_FORMAT: Final = 3


def identity(step: Step, context: Context, inputs: Inputs) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """Weights and tokenizer are inputs; the form comes from the plan; the card also shows the evaluation."""
    evaluation = _evaluation(context, inputs)
    return {
        "format": _FORMAT,
        "fingerprint": context.plan.fingerprint,
        "checkpoints": context.plan.checkpoints.model_dump(mode="json", include={"export_dtype", "max_shard_bytes"}),
        "evaluation": evaluation.key if evaluation is not None else None,
    }


def run(step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """Write `<run>/export`, whole or not at all; an older one is replaced.

    Raises:
        RunFailed: there is no trained model (RC606), or the disk is full (RC604).
    """
    from runtime.algorithms import export
    from runtime.compression.shipping import in_export_dtype, load_shipped
    from runtime.models.model_files import write_loadable

    plan, layout = context.plan, context.layout
    tokenizer = None if plan.tokenizer is None else result_of("tokenizer", plan, inputs)
    model = load_shipped(plan, layout, None if tokenizer is None else tokenizer.values["eos_token_id"])
    if tokenizer is not None:
        cast("PreTrainedModel", model).config.use_cache = True
    with atomic_folder(layout.export, replace=lambda: True) as target:
        picture = layout.mixture.name if draw_mixture(plan, layout.metrics, target / layout.mixture.name) else None
        write_loadable(in_export_dtype(model, plan), target, plan)
        for path in sorted(tokenizer.folder.iterdir()) if tokenizer is not None else ():
            if path.is_file() and path.name != "result.json":
                shutil.copyfile(path, target / path.name)
        if plan.is_classifier and (names := _names(context, inputs)):
            write_names(target, names)
        export(plan, layout, target)
        (target / "README.md").write_text(_card(context, inputs, picture), encoding="utf-8")
    files = sorted(path for path in layout.export.rglob("*") if path.is_file())
    return {
        "folder": layout.export.name,
        "bytes": sum(path.stat().st_size for path in files),
        "files": {path.relative_to(layout.export).as_posix(): hash_file(path) for path in files},
    }


def _names(context: Context, inputs: Inputs) -> tuple[str, ...]:
    """Names of a classifier's classes, as its evaluation has them; empty where nothing was held out."""
    evaluation = _evaluation(context, inputs)
    sources = evaluation.values["sources"] if evaluation is not None else {}
    return tuple(next(iter(sources.values()))["classes"]) if sources else ()


def _card(context: Context, inputs: Inputs, picture: str | None) -> str:
    """The model card, with what was measured by the steps that the plan has."""
    plan, evaluation = context.plan, _evaluation(context, inputs)
    found = {step.kind: inputs[step.id].values for step in plan.steps if step.id in inputs}
    return model_card(
        plan,
        trained=found["train"],
        evaluation=evaluation.values if evaluation is not None else None,
        picture=picture,
        bias=found.get("compare"),
        small=found.get("compress"),
        base=base_content(plan, context.layout),
    )


def _evaluation(context: Context, inputs: Inputs) -> Record | None:
    """The evaluation of this training, where the plan has one and it is done."""
    train = result_of("train", context.plan, inputs)
    for step in context.plan.steps:
        if step.kind == "evaluate":
            record = read_record(context.layout.step_result(step.id))
            if record is not None and record.is_finished and record.inputs.get(train.step) == train.key:
                return record
    return None
