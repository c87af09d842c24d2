"""The step `evaluate`: the start, the trained and the shipped model on held-out samples of each source, and texts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from runtime.bars import watched
from runtime.measures.retention import forgotten
from runtime.precision import measuring_device
from runtime.steps.base import Context, Inputs, Result, results_of
from schemas.plan import RunPlan, Step

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import nn
    from transformers import PreTrainedModel

    from runtime.tokenizer import TextTokenizer

__all__ = ["identity", "run"]

_FORMAT: Final = 2


def identity(step: Step, context: Context, inputs: Inputs) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """What is measured depends on weights and samples (the inputs), the seed, the number format, and the prompts."""
    plan = context.plan
    return {
        "format": _FORMAT,
        "seed": plan.seed,
        "precision": plan.precision.model_dump(mode="json"),
        "model": plan.model.model_dump(mode="json"),
        "prompts": list(plan.evaluation.prompts),
        "max_new_tokens": plan.evaluation.max_new_tokens,
        "retention": list(plan.evaluation.retention),
    }


def run(step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """Measure the model before its first step, the trained one, and what is shipped of it where that is another.

    Returns:
        `sources`: for each, `untrained`, `trained` and perhaps `shipped` with their loss (and perplexity, or accuracy), and how
        much was held out; of images also `classes` and, by true and predicted class, `confusion`. `samples`: continued prompts.
        `retention`: what was forgotten.

    Raises:
        DataError: a shard is missing or damaged (RC408).
        RunFailed: there is no trained model (RC606).
    """
    # Imported here: a run whose evaluation is reused doesn't wait for torch.
    from runtime.data.shards import verify_prepared
    from runtime.tokenizer import load

    plan = context.plan
    prepared = {str(result.values["source"]): result for result in results_of("prepare", plan, inputs)}
    prepared = {name: result for name, result in sorted(prepared.items()) if result.values["heldout"]["samples"]}
    for result in prepared.values():
        # Held-out shards are few, and a changed token would change the measure without a sign.
        verify_prepared(result.folder, deep=True, split="heldout")
    device = measuring_device(plan)
    if plan.is_classifier:
        sources, samples = _images(context, prepared, device)
    else:
        tokenizer = load(results_of("tokenizer", plan, inputs)[0].folder)
        sources, samples = _text(context, tokenizer, prepared, device)
    return {"sources": sources, "samples": samples, "retention": forgotten(sources, plan.evaluation.retention)}


def _forms(context: Context) -> Iterator[tuple[str, nn.Module]]:
    """The models that are measured, each made when it is its turn."""
    from runtime.compression.shipping import load_shipped
    from runtime.models.planned import initial_model, load_trained

    plan, layout = context.plan, context.layout
    yield "untrained", initial_model(plan, layout)
    yield "trained", load_trained(plan, layout)
    if any(step.kind == "compress" for step in plan.steps):
        yield "shipped", load_shipped(plan, layout)


def _images(
    context: Context, prepared: dict[str, Result], device: torch.device
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Loss and accuracy of each form on each source, and the trained model's table of classes; it writes nothing."""
    from runtime.measures.classification import confusion, measure

    plan = context.plan
    sources: dict[str, Any] = {name: {} for name in prepared}
    for form, model in _forms(context):
        for name, result in prepared.items():
            found = measure(model, plan, result, device, context.layout.cache)
            sources[name][form] = {"loss": found.loss, "accuracy": found.accuracy}
            if form == "trained":
                sources[name] |= {
                    "tokens": len(found.truth),
                    "bytes": int(result.values["heldout"]["bytes"]),
                    "classes": list(result.values["classes"]),
                    "confusion": confusion(found.truth, found.predicted, plan.resnet.num_classes),
                }
    return sources, []


def _text(
    context: Context, tokenizer: TextTokenizer, prepared: dict[str, Result], device: torch.device
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Losses of each form on each source, and what the trained model writes after the prompts."""
    from runtime.measures.language import autocast, continue_prompt, losses

    plan, cache = context.plan, context.layout.cache
    sources: dict[str, Any] = {}
    for name, result in prepared.items():
        tokens = int(result.values["heldout"]["tokens"])
        sources[name] = {"tokens": tokens, "bytes": _num_bytes(result, tokenizer, cache)}
    samples: list[dict[str, str]] = []
    for form, model in _forms(context):
        nats = _measure(model, device, prepared, plan, cache)
        for name, values in sources.items():
            values[form] = losses(nats[name], values["tokens"], values["bytes"])
        for prompt in plan.evaluation.prompts if form == "trained" else ():
            with autocast(plan.precision, device):
                text = continue_prompt(cast("PreTrainedModel", model), tokenizer, prompt, plan)
            samples.append({"prompt": prompt, "text": text})
    return sources, samples


def _measure(
    model: nn.Module, device: torch.device, prepared: dict[str, Result], plan: RunPlan, cache: Path
) -> dict[str, float]:
    """Held-out loss per source, of a language model that is moved to `device`."""
    from torch import nn

    from runtime.measures.language import autocast, nats_per_token

    nn.Module.to(model, device)
    measured = {}
    with autocast(plan.precision, device):
        for name, result in prepared.items():
            batches = _batches(_samples(result, cache), plan.training.microbatch)
            total = -(-result.values["heldout"]["samples"] // plan.training.microbatch)
            shown = watched(f"held-out {name}", batches, total=total)
            measured[name] = nats_per_token(cast("PreTrainedModel", model), shown)
    return measured


def _samples(result: Result, cache: Path) -> Iterator[npt.NDArray[np.int64]]:
    from runtime.measures.heldout import read_samples

    return read_samples(result.values["heldout"], result.folder, result.values["column"], cache)


def _batches(samples: Iterator[npt.NDArray[np.int64]], size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Stack samples of shape (length,) into (size, length); the last batch may be smaller."""
    import numpy as np

    while batch := list(itertools.islice(samples, size)):
        yield np.stack(batch)


def _num_bytes(result: Result, tokenizer: TextTokenizer, cache: Path) -> int:
    """Bytes of text behind the held-out tokens; ready-made shards don't say, so their tokens are decoded."""
    known = result.values["heldout"]["bytes"]
    if known is not None:
        return int(known)
    return sum(tokenizer.count_bytes(sample.tolist()) for sample in _samples(result, cache))
