"""Weights inside a checkpoint: those to use, and those that train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from runtime.checkpoint.reading import Checkpoint

if TYPE_CHECKING:
    import torch

__all__ = ["EMA_STATE", "MASK_STATE", "final_weights", "of_trained", "trained_names"]

EMA_STATE: Final = "average"
"""Key of averaged weights in an algorithm's state."""

MASK_STATE: Final = "masks"
"""Key of pruning masks in an algorithm's state: True where a weight stays."""


def final_weights(found: Checkpoint) -> dict[str, torch.Tensor]:
    """Weights to use: the moving average where the run kept one and it had begun, else those of the last step.

    An average remembers weights from before they were pruned, so masks are applied to it once more.
    """
    algorithms = [state for _, state in found.state["state"].get("algorithms", ())]
    average = next((state[EMA_STATE] for state in algorithms if state.get(EMA_STATE)), None)
    weights: dict[str, torch.Tensor] = dict(average or found.state["state"]["model"])
    for state in algorithms:
        for name, mask in state.get(MASK_STATE, {}).items():
            weights[name] = weights[name].masked_fill(~mask, 0.0)
    return weights


def of_trained(weights: Mapping[str, torch.Tensor], model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights without those that are frozen in `model`, whose values come from the start and not from a checkpoint.

    A frozen matrix in 4 bits has its scales beside it, under longer names. Where nothing is frozen, all are there.
    """
    frozen = _names(model, trained=False)
    if not frozen:
        return dict(weights)
    return {name: weight for name, weight in weights.items() if frozen.isdisjoint(_ancestors(name))}


def trained_names(model: torch.nn.Module) -> frozenset[str]:
    """Names of the weights that train, as a checkpoint has them."""
    return _names(model, trained=True)


def _names(model: torch.nn.Module, *, trained: bool) -> frozenset[str]:
    return frozenset(
        name.replace("_fsdp_wrapped_module.", "").removeprefix("module.")
        for name, parameter in model.named_parameters(remove_duplicate=False)  # tied weights have two names
        if parameter.requires_grad is trained
    )


def _ancestors(name: str) -> Iterator[str]:
    """A dotted name, and each name that it continues."""
    while name:
        yield name
        name = name.rpartition(".")[0]
