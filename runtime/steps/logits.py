"""The step `logits`: frozen teachers read every train sample of a source once, and their likeliest tokens are kept.

Its folder holds MDS shards with a row a sample, in the samples' order (runtime/teaching/kept_logits.py), and a manifest. Rows are
of the mean of all teachers, softened by the recipe's temperature; so another share of the loss, another window or another
student costs nothing, and another temperature is another folder.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.steps.base import Context, Inputs, Result
from runtime.teaching.teacher import check_tokenizers, pins, specs_of
from schemas.plan import RunPlan, Step, StepKind
from schemas.techniques.distillation import DistillationAlgorithm

if TYPE_CHECKING:
    import torch

__all__ = ["identity", "run"]

_FORMAT: Final = 1


def identity(step: Step, context: Context, inputs: Inputs) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """The teachers, and what is kept of their words; the samples are an input's."""
    spec = _spec(context.plan)
    return {
        "format": _FORMAT,
        "teachers": pins(context.plan, context.layout),
        "top_k": spec.top_k,
        "temperature": spec.temperature,
        "mean": "probabilities" if spec.loss == "kl" else "logits",
        "precision": context.plan.precision.compute,
    }


def run(step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:
    """Run the teachers over the train samples, and write their largest predictions into `folder`.

    Raises:
        DataError: a teacher is missing (RC401), or doesn't fit (RC203, RC406); a shard is damaged (RC408).
        RunFailed: a run that teaches is not finished (RC606), or the hub can't be reached (RC607).
    """
    # Imported here: a run whose logits are reused doesn't wait for torch.
    import torch
    from torch import nn
    from tqdm import tqdm

    from runtime.data.shards import verify_prepared, write_manifest
    from runtime.measures.language import autocast
    from runtime.teaching.kept_logits import RowWriter, folder_size
    from runtime.teaching.teacher import load_teachers

    plan, layout, spec = context.plan, context.layout, _spec(context.plan)
    prepared = _input("prepare", plan, inputs)
    if "tokenizer" in inputs:
        check_tokenizers(plan, layout, inputs["tokenizer"].folder)
    verify_prepared(prepared.folder, deep=True, split="train")
    device = torch.device("cuda" if torch.cuda.is_available() and plan.hardware.gpu != "cpu" else "cpu")
    teachers = [nn.Module.to(teacher, device) for teacher in load_teachers(spec, plan, layout)]
    samples, size = int(prepared.values["train"]["samples"]), plan.training.microbatch
    width = plan.resnet.num_classes if plan.is_classifier else plan.decoder.vocab_size
    k, positions = min(int(spec.top_k or 1), width), 1 if plan.is_classifier else plan.data.sequence_length
    batches = tqdm(
        _batches(prepared, plan, layout.cache),
        f"teachers on {step.source}",
        -(-samples // size),
        leave=False,
        disable=not sys.stderr.isatty(),
    )
    left = 0.0
    with RowWriter(folder, positions=positions, k=k, width=width) as rows, torch.no_grad():
        for batch in batches:
            with autocast(plan.precision, device):
                found = _said(spec, teachers, {name: values.to(device) for name, values in batch.items()}, k)
            left += float(found.rest.double().sum())
            rows.write(found)
    write_manifest(folder)
    return {
        "taught": str(step.source),
        "samples": rows.rows,
        "top_k": k,
        "bytes": folder_size(folder),
        "rest": left / max(1, rows.rows * positions),
    }


def _said(spec: DistillationAlgorithm, teachers: list[Any], batch: dict[str, torch.Tensor], k: int) -> Any:
    """The largest parts of what the teachers' mean says of a batch."""
    from runtime.models.forward import logits_of
    from runtime.teaching.divergence import mixed, top_k

    logits = mixed([logits_of(teacher, batch) for teacher in teachers], spec.loss, spec.temperature)
    return top_k(logits, k, spec.temperature)


def _batches(prepared: Result, plan: RunPlan, cache: Path) -> Iterator[dict[str, torch.Tensor]]:
    """Train samples in their order as a model takes them, a micro-batch at a time."""
    import numpy as np
    import torch

    from runtime.images.batches import heldout_batches
    from runtime.measures.heldout import read_samples

    if plan.is_classifier:
        for images in heldout_batches(prepared, plan, cache, "train"):
            yield {"pixel_values": images["pixel_values"]}
        return
    column = str(prepared.values.get("column", "tokens"))
    samples = read_samples(prepared.values["train"], prepared.folder, column, cache)
    while batch := list(itertools.islice(samples, plan.training.microbatch)):
        yield {"input_ids": torch.from_numpy(np.stack(batch))}


def _spec(plan: RunPlan) -> DistillationAlgorithm:
    return specs_of(plan)[0]


def _input(kind: StepKind, plan: RunPlan, inputs: Inputs) -> Result:
    kinds = {step.id: step.kind for step in plan.steps}
    return next(result for name, result in inputs.items() if kinds[name] == kind)
