"""Lion with decoupled weight decay (Chen et al. 2023, arXiv 2302.06675), as llm-foundry's DecoupledLionW; Composer has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch.optim import Optimizer

__all__ = ["DecoupledLionW"]


class DecoupledLionW(Optimizer):
    """weights <- (1 - wd lr / peak lr) weights - lr sign(b1 m + (1 - b1) g);  m <- b2 m + (1 - b2) g.

    Args:
        params: parameters or groups of them.
        lr: peak learning rate; a tenth to a third of Adam's.
        betas: b1 of the update's direction, b2 of the momentum.
        weight_decay: share of a weight that goes with each step at the peak; not multiplied by lr.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})
        for group in self.param_groups:
            group["initial_lr"] = group["lr"]

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():  # type: ignore[no-untyped-call]
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._update(group, weights)
        return loss

    def _update(self, group: dict[str, Any], weights: list[torch.Tensor]) -> None:
        lr, (toward, kept) = group["lr"], group["betas"]
        momenta: list[torch.Tensor] = []
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["exp_avg"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
            momenta.append(state["exp_avg"])
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - group["weight_decay"] * lr / group["initial_lr"])
        directions = torch._foreach_lerp(momenta, gradients, 1 - toward)
        torch._foreach_sign_(directions)
        torch._foreach_add_(weights, directions, alpha=-lr)
        torch._foreach_lerp_(momenta, gradients, 1 - kept)
