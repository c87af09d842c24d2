"""Counts live bytes of tensors: each storage from the operator that made it until nobody holds it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Storages"]


class Storages(TorchDispatchMode):
    """Counts the bytes of all storages that operators made and nobody has let go of.

    Args:
        known: tensors that are counted elsewhere (weights, buffers).
    """

    def __init__(self, known: Sequence[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.gradients = 0
        """Those of weights, as whoever owns the weights says."""
        self.peak = self.gradients_at_peak = 0
        self._known = [tensor.untyped_storage() for tensor in known]
        self._seen = {id(storage) for storage in self._known}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run one operator and count what it returns."""
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        if self.live > self.peak:
            self.peak, self.gradients_at_peak = self.live, self.gradients
        return found

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)
        if key not in self._seen:
            self._seen.add(key)
            size = storage.nbytes()
            self.live += size
            weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size
