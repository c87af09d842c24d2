"""Magnitude pruning on a schedule (Zhu & Gupta 2017, arXiv 1710.01878): single weights, 2 of 4, or channels and heads.

What is removed becomes zero and stays so; embeddings, norms of the residual stream and the output layer keep all of theirs.
Whole channels and heads are taken out of the finished model when it is shipped.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from composer.core import Algorithm, Event, State
from composer.loggers import Logger

from runtime.checkpoint import MASK_STATE
from runtime.compression.sparsity.heads import heads_left
from runtime.compression.sparsity.layers import INPUT_DIM, Modules, prunable, unmatched
from runtime.compression.sparsity.masks import Masks, modules_of
from runtime.compression.sparsity.ranking import keep_masks, keep_two_of_four, sparsity_at
from runtime.compression.sparsity.removal import remove_dead
from runtime.compression.sparsity.structures import find_structures, held_masks, structure_masks
from runtime.errors import RunFailed
from runtime.layout import Layout
from schemas.plan import RunPlan
from schemas.techniques.pruning import PruningAlgorithm

__all__ = ["HeldZeros", "PrunedWeights", "build", "facts", "masks_of", "ship", "zeros_of"]


def masks_of(spec: PruningAlgorithm, modules: Modules, sparsity: float) -> dict[str, torch.Tensor]:
    """True where a weight of a model (or of a part with whole weights) stays, by name, at a sparsity."""
    layers = prunable(modules, spec.targets, spec.exclude)
    if spec.method == "structured":
        return structure_masks(find_structures(modules, spec.targets, spec.exclude), modules, sparsity, spec.norm)
    weights = {f"{name}.weight": _weight(layer) for name, layer in layers.items()}
    if spec.method == "magnitude":
        return keep_masks(weights, sparsity, spec.scope)
    masks = {
        f"{name}.weight": keep_two_of_four(_weight(layer), INPUT_DIM[type(layer).__name__], sparsity)
        for name, layer in layers.items()
    }
    return {name: mask for name, mask in masks.items() if mask is not None}


def zeros_of(spec: PruningAlgorithm, modules: Modules) -> dict[str, torch.Tensor]:
    """False where a weight is zero now, and where the bias of a channel without weights is."""
    layers = prunable(modules, spec.targets, spec.exclude)
    return held_masks(layers, find_structures(modules, spec.targets, spec.exclude), modules)


def _weight(layer: torch.nn.Module) -> torch.Tensor:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight


class _Masked(Algorithm):  # type: ignore[misc]  # composer has no types
    """Masks that are made now and then, and hold after every step; checkpoints have them whole."""

    def __init__(self, spec: PruningAlgorithm) -> None:
        self._spec = spec
        self._masks, self._sparsity = Masks(), 0.0
        self._loaded: Mapping[str, torch.Tensor] | None = None
        self._state: State | None = None

    def match(self, event: Event, state: State) -> bool:
        """Before the first step of a run or of its resumption, and after each step."""
        return event in (Event.FIT_START, Event.BATCH_END)

    def apply(self, event: Event, state: State, logger: Logger) -> None:
        """Renew the masks where it is time, and zero what they exclude."""
        self._state = state
        if event is Event.FIT_START:
            unmatched(prunable(modules_of(state.model), self._spec.targets), self._spec.exclude)
        if self._loaded is not None:
            self._masks.load(state.model, self._loaded)
            self._loaded = None
        if not self._renew(event, state, logger):
            self._masks.apply(state.model)

    @abstractmethod
    def _renew(self, event: Event, state: State, logger: Logger) -> bool:
        """Make new masks if it is time; whether they were made."""

    def state_dict(self) -> dict[str, Any]:
        """The masks, and the sparsity that they were made for."""
        masks = self._masks.whole(self._state.model) if self._state is not None else {}
        return {"sparsity": self._sparsity, MASK_STATE: masks}

    def load_state_dict(self, state: dict[str, Any], strict: bool = False) -> None:  # composer's signature
        """Keep the masks of a checkpoint until the model is wrapped and on its device."""
        self._sparsity, self._loaded = state["sparsity"], dict(state[MASK_STATE])


class PrunedWeights(_Masked):
    """Removes more weights at each step of the schedule."""

    def __init__(self, spec: PruningAlgorithm, batch_tokens: int) -> None:
        super().__init__(spec)
        self._start, self._end = (t // batch_tokens for t in (spec.window.start_token, spec.window.end_token))

    def sparsity(self, step: int) -> float:
        """Share of the weights that is gone after a step; none is before the window."""
        spec = self._spec
        if step < self._start:
            return 0.0
        return sparsity_at(
            step,
            start=self._start,
            end=self._end,
            interval=spec.interval_steps,
            initial=spec.initial,
            final=spec.sparsity,
            schedule=spec.schedule,
        )

    def _renew(self, event: Event, state: State, logger: Logger) -> bool:  # the same on both events
        sparsity = self.sparsity(int(state.timestamp.batch))
        if sparsity <= self._sparsity:
            return False
        self._masks.renew(state.model, lambda modules: masks_of(self._spec, modules, sparsity))
        self._sparsity = sparsity
        logger.log_metrics({"pruning/sparsity": sparsity})
        return True


class HeldZeros(_Masked):
    """Keeps the zeros that a run begins with."""

    def _renew(self, event: Event, state: State, logger: Logger) -> bool:
        if event is not Event.FIT_START or self._masks:
            return False
        self._masks.renew(state.model, lambda modules: zeros_of(self._spec, modules))
        self._sparsity = self._spec.sparsity
        return True


def build(spec: PruningAlgorithm, plan: RunPlan, layout: Layout) -> PrunedWeights | HeldZeros:  # contract
    """The algorithm of a plan.

    Raises:
        RunFailed: FSDP's shards can't be ranked over all layers at once (RC203).
    """
    if plan.parallelism.strategy == "fsdp" and spec.scope == "global":
        message = "`scope: global` ranks the weights of all layers at once, and FSDP gives each device a part of them"
        raise RunFailed("RC203", message, "train without FSDP, or with `scope: layer`")
    if spec.schedule == "hold":
        return HeldZeros(spec)
    return PrunedWeights(spec, plan.training.global_batch_tokens)


def ship(spec: PruningAlgorithm, model: torch.nn.Module, plan: RunPlan) -> torch.nn.Module:  # contract
    """Without the channels and heads that pruning emptied; zeros among other weights stay where they are."""
    return remove_dead(model) if spec.method == "structured" else model


def facts(spec: PruningAlgorithm, model: torch.nn.Module) -> dict[str, Any]:
    """Method, and the sizes that a language model without its dead channels and heads has."""
    config = getattr(model, "config", None)
    sizes = ("intermediate_size", "n_inner", "num_attention_heads", "num_key_value_heads")
    found = {key: getattr(config, key, None) for key in sizes if spec.method == "structured"}
    if fewer := heads_left(model):  # of layers, where the configuration can't say it
        found["num_attention_heads"] = max(fewer)
    return {"method": spec.method, **{key: value for key, value in found.items() if value is not None}}
