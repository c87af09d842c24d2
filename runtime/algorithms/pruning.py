"""Magnitude pruning on a cubic schedule (Zhu & Gupta 2017, arXiv 1710.01878).

The linear layers' weights of smallest magnitude become zero and stay so; embeddings, norms, biases and the output layer
keep all of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from composer.core import Algorithm, Event, State
from composer.loggers import Logger

from runtime.checkpoint import MASK_STATE
from runtime.errors import RunFailed
from runtime.layout import Layout
from runtime.window import TokenWindow
from schemas.plan import RunPlan
from schemas.techniques.pruning import PruningAlgorithm

__all__ = ["PrunedWeights", "build", "keep_masks", "prunable", "sparsity_at"]

Tensors = Mapping[str, torch.Tensor]
_OUTPUT = "lm_head"


def sparsity_at(final: float, fraction: float) -> float:
    """Share of weights that are zero after a share of the schedule: S (1 - (1 - x)^3)."""
    return final * (1 - (1 - fraction) ** 3)


def prunable(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights of the linear layers by name; GPT-2 calls its layers Conv1D."""
    kinds = ("Linear", "Conv1D")
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if type(module).__name__ in kinds and _OUTPUT not in name.split(".")
    }


def keep_masks(weights: Tensors, sparsity: float, scope: Literal["layer", "global"]) -> dict[str, torch.Tensor]:
    """True where a weight stays: all but the floor(sparsity * n) of smallest magnitude, per layer or of all layers.

    Weights that are zero already rank lowest, so what is gone stays gone. Sorting takes twice the memory of the ranked.
    """
    if scope == "layer":
        return {name: _keep(w.detach().abs().flatten(), sparsity).view_as(w) for name, w in weights.items()}
    ranked = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
    parts = torch.split(_keep(ranked, sparsity), [weight.numel() for weight in weights.values()])
    return {name: part.view_as(weight).clone() for (name, weight), part in zip(weights.items(), parts, strict=True)}


def _keep(magnitudes: torch.Tensor, sparsity: float) -> torch.Tensor:
    mask = torch.ones_like(magnitudes, dtype=torch.bool)
    # Stable, so that every rank breaks ties in the same way.
    mask[torch.argsort(magnitudes, stable=True)[: int(sparsity * magnitudes.numel())]] = False
    return mask


class PrunedWeights(Algorithm):  # type: ignore[misc]  # composer has no types
    """Makes new masks every interval inside the window, once more at its end, and holds them after each step."""

    def __init__(self, spec: PruningAlgorithm) -> None:
        self._spec, self._window = spec, TokenWindow.of(spec.window)
        self._masks: dict[str, torch.Tensor] = {}
        self._sparsity = 0.0

    def match(self, event: Event, state: State) -> bool:
        """After each optimizer step from the window's start on."""
        return event is Event.BATCH_END and int(state.timestamp.token) >= self._window.start

    def apply(self, event: Event, state: State, logger: Logger) -> None:
        """Renew the masks where the schedule says so, and zero what they exclude."""
        weights = prunable(_unwrapped(state.model))
        sparsity = sparsity_at(self._spec.sparsity, self._window.progress(state))
        is_due = int(state.timestamp.batch) % self._spec.interval_steps == 0 or not self._window.active(state)
        if is_due and sparsity > self._sparsity:
            self._masks, self._sparsity = keep_masks(weights, sparsity, self._spec.scope), sparsity
            logger.log_metrics({"pruning/sparsity": sparsity})
        with torch.no_grad():
            for name, mask in self._masks.items():
                # masked_fill gives +0 where a product would leave -0.
                weights[name].masked_fill_(~mask.to(weights[name].device), 0.0)

    def state_dict(self) -> dict[str, Any]:
        """The masks, and the sparsity that they were made for."""
        return {"sparsity": self._sparsity, MASK_STATE: self._masks}

    def load_state_dict(self, state: dict[str, Any], strict: bool = False) -> None:
        """Go on with the masks of a checkpoint."""
        self._sparsity, self._masks = state["sparsity"], dict(state[MASK_STATE])


def _unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    return model.module if isinstance(model, torch.nn.parallel.DistributedDataParallel) else model


def build(spec: PruningAlgorithm, plan: RunPlan, layout: Layout) -> PrunedWeights:
    """The algorithm of a plan.

    Raises:
        RunFailed: FSDP's shards can't be ranked layer by layer (RC203).
    """
    if plan.parallelism.strategy == "fsdp":
        message = "pruning ranks whole layers, and FSDP gives each device a part of them"
        raise RunFailed("RC203", message, "train without FSDP, or without pruning")
    return PrunedWeights(spec)
