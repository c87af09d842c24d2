"""Distillation from a frozen teacher's logits (Hinton et al. 2015, arXiv 1503.02531)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from composer.core import Algorithm, Event, State, get_precision_context
from composer.loggers import Logger
from torch.nn import functional

from runtime.errors import DataError
from runtime.frozen import load_frozen
from runtime.layout import Layout
from runtime.teacher import find
from runtime.window import TokenWindow
from schemas.plan import RunPlan
from schemas.techniques.distillation import DistillationAlgorithm

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["DistilledLoss", "build", "distilled", "divergence", "load_teacher"]


def divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 KL(teacher || student) of softened distributions, mean over positions, in fp32; nats.

    Args:
        student: logits, [batch, length, vocabulary].
        teacher: logits of the same shape.
        temperature: T; its square keeps gradients of one size (Hinton et al., section 2).
    """
    ours = functional.log_softmax(student.float().flatten(0, 1) / temperature, dim=-1)
    theirs = functional.log_softmax(teacher.float().flatten(0, 1) / temperature, dim=-1)
    return functional.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


def distilled(loss: dict[str, torch.Tensor], term: torch.Tensor, weight: float) -> dict[str, torch.Tensor]:
    """(1 - w) loss + w term as `total`, with both parts."""
    total = (1 - weight) * loss["total"] + weight * term
    return {"total": total, "cross_entropy": loss.get("cross_entropy", loss["total"]), "distillation": term}


class DistilledLoss(Algorithm):  # type: ignore[misc]  # composer has no types
    """Adds the teacher's term to each microbatch's loss inside the window; a resumed run reads the teacher again."""

    def __init__(self, spec: DistillationAlgorithm, teacher: PreTrainedModel) -> None:
        self._spec, self._window, self._teacher = spec, TokenWindow.of(spec.window), teacher

    def match(self, event: Event, state: State) -> bool:
        """At the start, and after the loss of each microbatch inside the window; held-out losses stay as they are."""
        return event is Event.FIT_START or (event is Event.AFTER_LOSS and self._window.active(state))

    def apply(self, event: Event, state: State, logger: Logger) -> None:
        """Move the teacher to the device; then mix the losses."""
        if event is Event.FIT_START:
            state.device.module_to_device(self._teacher)
            return
        with torch.no_grad(), get_precision_context(state.precision, state.precision_config):
            theirs = self._teacher(input_ids=state.batch["input_ids"], use_cache=False).logits
        term = divergence(cast("torch.Tensor", state.outputs), theirs, self._spec.temperature)
        state.loss = distilled(cast("dict[str, torch.Tensor]", state.loss), term, self._spec.weight)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the teacher is frozen."""
        return {}


def load_teacher(folder: Path, vocab_size: int, sequence_length: int) -> PreTrainedModel:
    """A frozen model from a Hugging Face folder; safetensors only, since other formats can run code.

    Raises:
        DataError: there is no whole model (RC401), or it has another vocabulary (RC406) or too few positions (RC203).
    """
    teacher = load_frozen(folder, "the teacher")
    if teacher.config.vocab_size != vocab_size:
        raise DataError(
            "RC406",
            f"the teacher has {teacher.config.vocab_size:,} tokens, the model {vocab_size:,}: logits can't be compared",
            "use a teacher with the same tokenizer, and set `model.vocab_size` to the teacher's",
        )
    positions = getattr(teacher.config, "max_position_embeddings", None) or sequence_length
    if positions < sequence_length:
        message = f"the teacher reads {positions:,} tokens at once, and samples have {sequence_length:,}"
        raise DataError("RC203", message, f"choose another teacher, or `data.sequence_length: {positions}`")
    return teacher


def build(spec: DistillationAlgorithm, plan: RunPlan, layout: Layout) -> DistilledLoss:
    """The algorithm of a plan; the teacher's folder is looked up like any path of the recipe.

    Raises:
        DataError: the teacher is missing or damaged (RC401), or doesn't fit (RC203, RC406).
    """
    folder = find(spec, layout.roots)
    return DistilledLoss(spec, load_teacher(folder, plan.model.vocab_size, plan.data.sequence_length))
