"""The step `export`: the trained model as a Hugging Face folder, with its tokenizer and a model card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from runtime.files import atomic_folder, hash_file
from runtime.record import Record, read_record
from runtime.reporting.mixture_plot import draw_mixture
from runtime.reporting.model_card import model_card
from runtime.steps.base import Context, Inputs, Result
from schemas.plan import Step, StepKind

__all__ = ["identity", "run"]

_FORMAT: Final = 2
_DTYPES: Final = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


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
    import torch

    from runtime.algorithms import export
    from runtime.model import load_trained

    plan, layout = context.plan, context.layout
    tokenizer = _input("tokenizer", context, inputs)
    model = load_trained(plan, layout, tokenizer.values["eos_token_id"])
    model.config.use_cache = True
    model.to(getattr(torch, _DTYPES[plan.checkpoints.export_dtype]))
    evaluation = _evaluation(context, inputs)
    trained = _input("train", context, inputs).values
    with atomic_folder(layout.export, replace=lambda: True) as target:
        picture = layout.mixture.name if draw_mixture(plan, layout.metrics, target / layout.mixture.name) else None
        measured = evaluation.values if evaluation is not None else None
        card = model_card(plan, trained=trained, evaluation=measured, picture=picture)
        model.save_pretrained(target, max_shard_size=plan.checkpoints.max_shard_bytes)
        for path in sorted(tokenizer.folder.iterdir()):
            if path.is_file() and path.name != "result.json":
                shutil.copyfile(path, target / path.name)
        export(plan, layout, target)
        (target / "README.md").write_text(card, encoding="utf-8")
        for weights in target.glob("*.safetensors"):
            # safetensors writes for the owner alone; whoever may read the card may read the model.
            weights.chmod((target / "README.md").stat().st_mode)
    files = sorted(path for path in layout.export.rglob("*") if path.is_file())
    return {
        "folder": layout.export.name,
        "bytes": sum(path.stat().st_size for path in files),
        "files": {path.relative_to(layout.export).as_posix(): hash_file(path) for path in files},
    }


def _input(kind: StepKind, context: Context, inputs: Inputs) -> Result:
    return next(inputs[step.id] for step in context.plan.steps if step.kind == kind and step.id in inputs)


def _evaluation(context: Context, inputs: Inputs) -> Record | None:
    """The evaluation of this training, where the plan has one and it is done."""
    train = _input("train", context, inputs)
    for step in context.plan.steps:
        if step.kind == "evaluate":
            record = read_record(context.layout.step_result(step.id))
            if record is not None and record.is_finished and record.inputs.get(train.step) == train.key:
                return record
    return None
