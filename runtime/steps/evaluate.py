"""The step `evaluate`: held-out loss of each source before and after training, and texts that the model continues."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.steps.base import Context, Inputs, Result
from schemas.plan import RunPlan, Step, StepKind

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from transformers import PreTrainedModel

    from runtime.tokenizer import TextTokenizer

__all__ = ["identity", "run"]

_FORMAT: Final = 1


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
    }


def run(step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """Measure the untrained and the trained model on the held-out samples of each source.

    Raises:
        DataError: a shard is missing or damaged (RC408).
        RunFailed: there is no trained model (RC606).
    """
    # Imported here: a run whose evaluation is reused doesn't wait for torch.
    import torch

    from runtime.data.shards import verify_prepared
    from runtime.evaluation import autocast, continue_prompt, losses
    from runtime.model import initial_model, load_trained
    from runtime.tokenizer import load

    plan, layout = context.plan, context.layout
    tokenizer = load(_of_kind("tokenizer", plan, inputs)[0].folder)
    prepared = {str(result.values["source"]): result for result in _of_kind("prepare", plan, inputs)}
    prepared = {name: result for name, result in sorted(prepared.items()) if result.values["heldout"]["samples"]}
    for result in prepared.values():
        # Held-out shards are few, and a changed token would change the measure without a sign.
        verify_prepared(result.folder, deep=True, split="heldout")
    device = torch.device("cuda" if torch.cuda.is_available() and plan.hardware.gpu != "cpu" else "cpu")
    model = initial_model(plan, layout)
    before = _measure(model, device, prepared, plan, layout.cache)
    model = load_trained(plan, layout)
    after = _measure(model, device, prepared, plan, layout.cache)
    sources = {}
    for name, result in prepared.items():
        tokens = int(result.values["heldout"]["tokens"])
        num_bytes = _num_bytes(result, tokenizer, layout.cache)
        sources[name] = {
            "untrained": losses(before[name], tokens, num_bytes),
            "trained": losses(after[name], tokens, num_bytes),
            "tokens": tokens,
            "bytes": num_bytes,
        }
    with autocast(plan.precision, device):
        texts = [continue_prompt(model, tokenizer, prompt, plan) for prompt in plan.evaluation.prompts]
    samples = [{"prompt": prompt, "text": text} for prompt, text in zip(plan.evaluation.prompts, texts, strict=True)]
    return {"sources": sources, "samples": samples}


def _measure(
    model: PreTrainedModel, device: torch.device, prepared: dict[str, Result], plan: RunPlan, cache: Path
) -> dict[str, float]:
    """Held-out loss per source, of a model that is moved to `device`."""
    from torch import nn
    from tqdm import tqdm

    from runtime.evaluation import autocast, nats_per_token

    nn.Module.to(model, device)
    measured = {}
    with autocast(plan.precision, device):
        for name, result in prepared.items():
            batches = _batches(_samples(result, cache), plan.training.microbatch)
            total = -(-result.values["heldout"]["samples"] // plan.training.microbatch)
            bar = tqdm(batches, f"held-out {name}", total, leave=False, disable=not sys.stderr.isatty())
            measured[name] = nats_per_token(model, bar)
    return measured


def _samples(result: Result, cache: Path) -> Iterator[npt.NDArray[np.int64]]:
    from runtime.heldout import read_samples

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


def _of_kind(kind: StepKind, plan: RunPlan, inputs: Inputs) -> Sequence[Result]:
    return [inputs[step.id] for step in plan.steps if step.kind == kind and step.id in inputs]
