"""Distillation from frozen teachers (Hinton et al. 2015, arXiv 1503.02531), live or from kept logits, behind one gate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from composer.core import Algorithm, Event, State, get_precision_context
from composer.loggers import Logger

from runtime.layout import Layout
from runtime.models.forward import logits_of
from runtime.teaching.divergence import divergence, mean_over, mixed, positions, top_k_divergence
from runtime.teaching.kept_logits import of_batch
from runtime.teaching.teacher import load_teachers, padding_of
from runtime.window import TokenWindow
from schemas.plan import RunPlan
from schemas.techniques.distillation import DistillationAlgorithm

__all__ = ["DistilledLoss", "Gate", "build", "distilled"]

_RANGE: Final = 1 << 64


@dataclass(frozen=True)
class Gate:
    """When the teacher speaks, and which one: functions of plan and step alone, so that all ranks agree and a resume is exact.

    Args:
        window: in tokens.
        first: step with which the window begins.
        every: steps from one to the next.
        probability: of each of these.
        seed: of the plan.
    """

    window: TokenWindow
    first: int
    every: int
    probability: float
    seed: int

    @classmethod
    def of(cls, spec: DistillationAlgorithm, plan: RunPlan) -> Gate:
        """The gate of a plan."""
        first = spec.window.start_token // plan.training.global_batch_tokens
        return cls(TokenWindow.of(spec.window), first, spec.every, spec.probability, plan.seed)

    def is_open(self, step: int, tokens: int) -> bool:
        """At a step (counted from 0), before which so many tokens were drawn."""
        if not self.window.contains(tokens) or (step - self.first) % self.every:
            return False
        return self.probability >= 1 or self._drawn("open", step) < self.probability * _RANGE

    def teacher(self, step: int, teachers: int) -> int:
        """The number of the teacher whose turn it is at a step, each with the same chance."""
        return self._drawn("teacher", step) * teachers // _RANGE

    def _drawn(self, what: str, step: int) -> int:
        """A random number below 2^64, the same on every machine."""
        text = "\0".join((what, str(self.seed), str(step)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def distilled(loss: dict[str, torch.Tensor], term: torch.Tensor, weight: float) -> dict[str, torch.Tensor]:
    """(1 - w) loss + w term as `total`, with both parts."""
    total = (1 - weight) * loss["total"] + weight * term
    return {"total": total, "cross_entropy": loss.get("cross_entropy", loss["total"]), "distillation": term}


class DistilledLoss(Algorithm):  # type: ignore[misc]  # composer has no types
    """Adds the teacher's term to each microbatch's loss while the gate is open; else the loss is left as it is.

    The teachers are no part of the model: neither optimizer nor checkpoint nor FSDP know them, and each rank has them whole.

    Args:
        spec: of the plan.
        gate: when, and which one.
        teachers: frozen; none where the batches carry what they said.
        padding: the id of tokens that only fill samples up, which teach nothing.
    """

    def __init__(
        self, spec: DistillationAlgorithm, gate: Gate, teachers: Sequence[torch.nn.Module], padding: int | None = None
    ) -> None:
        self._spec, self._gate, self._teachers, self._padding = spec, gate, tuple(teachers), padding

    def match(self, event: Event, state: State) -> bool:
        """At the start, and after the loss of each microbatch of an open step; held-out losses stay as they are."""
        if event is Event.FIT_START:
            return True
        return event is Event.AFTER_LOSS and self._gate.is_open(int(state.timestamp.batch), int(state.timestamp.token))

    def apply(self, event: Event, state: State, logger: Logger) -> None:
        """Move the teachers to the device; then mix the losses."""
        if event is Event.FIT_START:
            for teacher in self._teachers:
                state.device.module_to_device(teacher)
            return
        batch, student = cast("Mapping[str, Any]", state.batch), cast("torch.Tensor", state.outputs)
        if self._teachers:
            theirs = self._mean_logits(state)
            values = divergence(self._spec.loss, student, theirs, self._spec.temperature)
        else:
            values = top_k_divergence(self._spec.loss, student, of_batch(batch, student), self._spec.temperature)
        counted = None
        if self._padding is not None and "input_ids" in batch:
            counted = positions(batch["input_ids"], self._padding)
        term = mean_over(values, counted)
        state.loss = distilled(cast("dict[str, torch.Tensor]", state.loss), term, self._spec.weight)

    @torch.no_grad()
    def _mean_logits(self, state: State) -> torch.Tensor:
        """What the step's teachers say of a microbatch, in the precision of the training."""
        teachers = self._teachers
        if self._spec.sampling == "one":
            teachers = (teachers[self._gate.teacher(int(state.timestamp.batch), len(teachers))],)
        with get_precision_context(state.precision, state.precision_config):
            said = [logits_of(teacher, state.batch) for teacher in teachers]
        return mixed(said, self._spec.loss, self._spec.temperature)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the teachers are frozen, and the gate is a function of the step."""
        return {}


def build(spec: DistillationAlgorithm, plan: RunPlan, layout: Layout) -> DistilledLoss:
    """The algorithm of a plan; a resumed run reads the teachers again.

    Raises:
        DataError: a teacher is missing or damaged (RC401), or doesn't fit (RC203, RC406).
        RunFailed: a run that teaches is not finished (RC606), or the hub can't be reached (RC607).
    """
    teachers = [] if spec.top_k is not None else load_teachers(spec, plan, layout)
    return DistilledLoss(spec, Gate.of(spec, plan), teachers, padding_of(plan, layout))
