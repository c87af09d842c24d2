"""A model on a batch: language models and classifiers alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from torch import nn

if TYPE_CHECKING:
    import torch

__all__ = ["logits_of"]


def logits_of(model: nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
    """Logits of every prediction that a batch asks for.

    Args:
        model: a Hugging Face causal LM, a classifier, or what Composer, FSDP or DDP made of one.
        batch: {"input_ids": [batch, length] int64}, or {"pixel_values": [batch, channels, height, width] float}; what else
            it holds (labels, sources) is not looked at.

    Returns:
        [batch, length, vocabulary], where position i foretells token i + 1; or [batch, classes].
    """
    if "pixel_values" in batch:
        return cast("torch.Tensor", model(batch["pixel_values"]))
    return cast("torch.Tensor", model(input_ids=batch["input_ids"], use_cache=False).logits)
