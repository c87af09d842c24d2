"""Moving average of the weights; the average is what is evaluated, and what `runtime.models.planned.load_trained` gives.

Composer's own EMA is not used: it swaps the average into the model before a checkpoint is written, so that the saved
"model" is no longer the one being trained, and only for Composer's own saver.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from composer.core import Algorithm, Event, State
from composer.loggers import Logger
from torch.optim.swa_utils import get_ema_multi_avg_fn

from runtime.checkpoint import EMA_STATE, of_trained
from runtime.layout import Layout
from schemas.plan import RunPlan
from schemas.techniques.ema import EmaAlgorithm

__all__ = ["AveragedWeights", "build", "swap", "update"]

Weights = Sequence[torch.Tensor]


def update(average: Weights, weights: Weights, smoothing: float) -> None:
    """Set average <- smoothing * average + (1 - smoothing) * weights, in place, for all tensors at once."""
    with torch.no_grad():
        get_ema_multi_avg_fn(smoothing)(average, weights, None)  # type: ignore[no-untyped-call]


def swap(left: Weights, right: Weights) -> None:
    """Exchange the values of two lists of tensors.

    Values are copied, one tensor at a time: under FSDP weights are views of one buffer, which must stay where it is.
    """
    with torch.no_grad():
        for a, b in zip(left, right, strict=True):
            kept = a.clone()
            a.copy_(b)
            b.copy_(kept)


class AveragedWeights(Algorithm):  # type: ignore[misc]  # composer has no types
    """Keeps the average on the device of the weights, from the first batch that ends inside the window on.

    Under FSDP each rank averages its shards; checkpoints hold the gathered average under the model's own names.
    """

    def __init__(self, spec: EmaAlgorithm) -> None:
        self._spec = spec
        self._average: list[torch.Tensor] | None = None
        self._loaded: dict[str, torch.Tensor] | None = None
        self._state: State | None = None

    def match(self, event: Event, state: State) -> bool:
        """Where the average is restored, updated, and stands in for the weights."""
        return event in (Event.INIT, Event.FIT_START, Event.BATCH_END, Event.EVAL_START, Event.EVAL_END)

    def apply(self, event: Event, state: State, logger: Logger) -> None:
        """Act on one event; evaluation sees the average, training never does."""
        if event is Event.INIT:
            self._state = state
        elif event is Event.FIT_START:
            self._restore(state, logger)
        elif event is Event.BATCH_END:
            self._advance(state)
        elif self._average is not None:
            swap(_weights(state), self._average)

    def _advance(self, state: State) -> None:
        if int(state.timestamp.token) < self._spec.window.start_token:
            return
        if self._average is None:
            self._average = [weight.detach().clone() for weight in _weights(state)]
        elif int(state.timestamp.batch) % self._spec.update_interval_steps == 0:
            update(self._average, [weight.detach() for weight in _weights(state)], self._spec.smoothing)

    def _restore(self, state: State, logger: Logger) -> None:
        if self._loaded is None:
            return
        trained = [weight.detach().clone() for weight in _weights(state)]
        frozen = any(not weight.requires_grad for weight in state.model.parameters())
        state.load_model_state({"model": self._loaded}, logger, strict=not frozen)
        self._average, self._loaded = [weight.detach().clone() for weight in _weights(state)], None
        with torch.no_grad():
            for weight, value in zip(_weights(state), trained, strict=True):
                weight.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """The average by the model's names, on every rank; empty before averaging begins."""
        if self._average is None or self._state is None:
            return {EMA_STATE: None}
        swap(_weights(self._state), self._average)
        try:
            weights = of_trained(self._state.get_model_state_dict(), self._state.model)
            named = {name: value.detach().clone() for name, value in weights.items()}
        finally:
            swap(_weights(self._state), self._average)
        return {EMA_STATE: named}

    def load_state_dict(self, state: dict[str, Any], strict: bool = False) -> None:
        """Keep the average until the model is wrapped and on its device."""
        self._loaded = state[EMA_STATE]


def _weights(state: State) -> list[torch.Tensor]:
    """Weights that train, frozen ones are their own average; and the running means and variances that belong to them."""
    trained: list[torch.Tensor] = [weight for weight in state.model.parameters() if weight.requires_grad]
    norms = (module for module in state.model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm))
    running = (tensor for norm in norms for tensor in (norm.running_mean, norm.running_var))
    return [*trained, *(tensor for tensor in running if tensor is not None)]


def build(spec: EmaAlgorithm, plan: RunPlan, layout: Layout) -> AveragedWeights:
    """The algorithm of a plan."""
    return AveragedWeights(spec)
