"""The step `logits`: frozen teachers read every train sample of a source once, and their likeliest tokens are kept.

Its folder holds MDS shards with a row a sample, in the samples' order (runtime/teaching/kept_logits.py), and a manifest. Rows are
of the mean of all teachers, softened by the recipe's temperature; so another share of the loss, another window or another
student costs nothing, and another temperature is another folder.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.bars import watched
from runtime.precision import measuring_device
from runtime.steps.base import Context, Inputs, Result, result_of
from runtime.teaching.teacher import check_tokenizers, pins, specs_of
from schemas.plan import RunPlan, Step
from schemas.techniques.distillation import DistillationAlgorithm

if TYPE_CHECKING:
    import torch
    from torch import nn

    from runtime.teaching.divergence import TopK

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

    from runtime.data.shards import verify_prepared, write_manifest
    from runtime.teaching.kept_logits import RowWriter, folder_size

    plan, layout, spec = context.plan, context.layout, _spec(context.plan)
    prepared = result_of("prepare", plan, inputs)
    if "tokenizer" in inputs:
        check_tokenizers(plan, layout, inputs["tokenizer"].folder)
    verify_prepared(prepared.folder, deep=True, split="train")
    width = plan.resnet.num_classes if plan.is_classifier else plan.decoder.vocab_size
    k, positions = min(int(spec.top_k or 1), width), 1 if plan.is_classifier else plan.data.sequence_length
    left, said = 0.0, _said(spec, k, _teachers(spec, context), _shown(prepared, step, context), context)
    with RowWriter(folder, positions=positions, k=k, width=width) as rows, torch.no_grad():
        for found in said:
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


def _teachers(spec: DistillationAlgorithm, context: Context) -> list[nn.Module]:
    from torch import nn

    from runtime.teaching.teacher import load_teachers

    device = measuring_device(context.plan)
    return [nn.Module.to(teacher, device) for teacher in load_teachers(spec, context.plan, context.layout)]


def _said(
    spec: DistillationAlgorithm,
    k: int,
    teachers: list[nn.Module],
    batches: Iterable[dict[str, torch.Tensor]],
    context: Context,
) -> Iterator[TopK]:
    """The k largest parts of what the teachers' mean says of each batch."""
    from runtime.measures.language import autocast
    from runtime.models.forward import logits_of
    from runtime.teaching.divergence import mixed, top_k

    plan, device = context.plan, measuring_device(context.plan)
    for batch in batches:
        there = {name: values.to(device) for name, values in batch.items()}
        with autocast(plan.precision, device):
            logits = mixed([logits_of(teacher, there) for teacher in teachers], spec.loss, spec.temperature)
            found = top_k(logits, k, spec.temperature)
        yield found


def _shown(prepared: Result, step: Step, context: Context) -> Iterable[dict[str, torch.Tensor]]:
    """Batches of the train samples under a bar."""
    plan = context.plan
    total = -(-int(prepared.values["train"]["samples"]) // plan.training.microbatch)
    return watched(f"teachers on {step.source}", _batches(prepared, plan, context.layout.cache), total=total)


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
