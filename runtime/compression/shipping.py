"""The model that leaves the run: the finished one made as small as its techniques allow, counted and timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import nn

from runtime.algorithms import ship
from runtime.compression.rounded_layers import rounded_layers
from runtime.layout import Layout
from runtime.measures.language import autocast
from runtime.models.forward import logits_of
from runtime.models.planned import load_trained
from schemas.plan import RunPlan

__all__ = ["counts", "in_export_dtype", "load_shipped", "tokens_per_s"]

_ROUNDS: Final = 8
"""Forward passes of each model that are timed, of which the first warms up; compiler/costing/times.py counts them."""

_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load_shipped(plan: RunPlan, layout: Layout, eos_token_id: int | None = None) -> nn.Module:
    """The finished model in the form in which it is exported, on the CPU in fp32; quantised weights are integers.

    Raises:
        RunFailed: there is no checkpoint of the last step that is whole (RC606).
        Refused: the checkpoint belongs to another plan (RC602).
    """
    return ship(plan, load_trained(plan, layout, eos_token_id))


def in_export_dtype(model: nn.Module, plan: RunPlan) -> nn.Module:
    """The model, changed in place, in the number format that the plan exports; integers stay what they are."""
    # HF models refuse the move of what they take for quantised by others; ours is a module like any.
    return nn.Module.to(model, _DTYPES[plan.checkpoints.export_dtype])


def counts(model: nn.Module) -> tuple[int, int]:
    """Parameters, each once, and how many of them aren't zero; the scales of rounded weights are none."""
    weights = [*model.parameters(), *(layer.quantized for layer in rounded_layers(model).values())]
    return sum(weight.numel() for weight in weights), sum(int(weight.count_nonzero()) for weight in weights)


@torch.no_grad()
def tokens_per_s(models: Sequence[nn.Module], batch: Mapping[str, torch.Tensor], plan: RunPlan) -> list[float]:
    """Forward passes over the same batch, the models in turn, so that what slows the machine down meets all alike.

    Args:
        models: on the batch's device.
        batch: {"input_ids": [samples, length]}, or {"pixel_values": [samples, channels, height, width]}.
        plan: whose number format the passes have.

    Returns:
        Tokens (or images) in a second of the median pass.
    """
    first = next(iter(batch.values()))
    tokens = batch["input_ids"].numel() if "input_ids" in batch else len(first)
    seconds: list[list[float]] = [[] for _ in models]
    with autocast(plan.precision, first.device):
        for _ in range(_ROUNDS):
            for model, taken in zip(models, seconds, strict=True):
                model.train(mode=False)
                begin = time.perf_counter()
                logits_of(model, batch)
                if first.is_cuda:
                    torch.cuda.synchronize()
                taken.append(time.perf_counter() - begin)
    return [tokens / statistics.median(taken[1:]) for taken in seconds]
