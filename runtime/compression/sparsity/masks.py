"""Masks on a model's weights, made from whole weights and kept where the weights lie: in one piece, or in FSDP's shards.

Under FSDP (`use_orig_params`) each rank holds flat pieces of weights. To make masks, whole weights are gathered one FSDP unit
at a time; what goes is marked in them with NaN, which finds its way back into the shards with them. So masks are those of
the unsharded model, and nothing here knows how torch cuts its shards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from runtime.compression.sparsity.layers import Modules, clean_name

__all__ = ["Masks", "modules_of", "whole_parts"]

Compute = Callable[[Modules], Mapping[str, torch.Tensor]]
"""Modules with whole weights -> masks by the name of a weight: True where it stays."""


def whole_parts(model: nn.Module, *, writeback: bool) -> Iterator[Modules]:
    """Modules by clean name with whole weights: all of them at once, or those of one FSDP unit after the other.

    Args:
        model: bare, or wrapped by DDP or FSDP. All ranks must walk through all parts.
        writeback: whether FSDP's shards take over what is changed in the whole weights.
    """
    named = modules_of(model)
    names = {module: name for name, module in named.items()}
    units = FullyShardedDataParallel.fsdp_modules(_bare(model))
    if not units:
        yield named
    for unit in units:
        with FullyShardedDataParallel.summon_full_params(unit, recurse=False, writeback=writeback):
            yield {names[module]: module for module in _own(unit) if module in names}


def modules_of(model: nn.Module) -> Modules:
    """All modules by clean name; a wrapper has the name of what it wraps, and gives way to it."""
    return {clean_name(f"{name}.").removesuffix("."): module for name, module in _bare(model).named_modules()}


def _bare(model: nn.Module) -> nn.Module:
    return cast("nn.Module", model.module) if isinstance(model, nn.parallel.DistributedDataParallel) else model


def _own(unit: nn.Module) -> Iterator[nn.Module]:
    """Modules whose weights belong to this FSDP unit and to none inside it."""
    for child in unit.children():
        if not isinstance(child, FullyShardedDataParallel):
            yield child
            yield from _own(child)


def _weight(modules: Modules, name: str) -> nn.Parameter:
    layer, _, key = name.rpartition(".")
    return cast("nn.Parameter", getattr(modules[layer], key))


class Masks:
    """Which weights of a model stay. Biases and norms can have masks too.

    Between steps a weight that doesn't stay is zero: `apply` after each step of the optimizer, whose momentum would revive it.
    """

    def __init__(self) -> None:
        self._kept: dict[str, torch.Tensor] = {}
        self._names: tuple[str, ...] = ()

    def renew(self, model: nn.Module, compute: Compute) -> None:
        """Make new masks from whole weights, and zero what they exclude."""
        names: list[str] = []
        for modules in whole_parts(model, writeback=True):
            for name, mask in compute(modules).items():
                with torch.no_grad():
                    weight = _weight(modules, name)
                    weight.masked_fill_(~mask.to(weight.device), math.nan)
                names.append(name)
        self._names = tuple(names)
        held = _parameters(model)
        self._kept = {name: ~held[name].detach().isnan() for name in names}
        self.apply(model)

    def load(self, model: nn.Module, masks: Mapping[str, torch.Tensor]) -> None:
        """Hold the masks of a checkpoint, which are whole."""
        self.renew(model, lambda modules: {n: m for n, m in masks.items() if n.rpartition(".")[0] in modules})

    def apply(self, model: nn.Module) -> None:
        """Set all weights that don't stay to zero; masked_fill gives +0 where a product would leave -0."""
        self._fill(model, 0.0)

    def whole(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """The masks as a checkpoint has them: whole, by name, on every rank; on the CPU where weights are in shards."""
        if not FullyShardedDataParallel.fsdp_modules(_bare(model)):
            return dict(self._kept)
        self._fill(model, math.nan)
        found = {}
        for modules in whole_parts(model, writeback=False):
            mine = [name for name in self._names if name.rpartition(".")[0] in modules]
            found.update({name: ~_weight(modules, name).detach().isnan().cpu() for name in mine})
        self.apply(model)
        return {name: found[name] for name in self._names}

    def __bool__(self) -> bool:
        return bool(self._names)

    def _fill(self, model: nn.Module, value: float) -> None:
        held = _parameters(model) if self._kept else {}
        with torch.no_grad():
            for name, kept in self._kept.items():
                held[name].masked_fill_(~kept, value)


def _parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return {clean_name(name): parameter for name, parameter in _bare(model).named_parameters(remove_duplicate=False)}
