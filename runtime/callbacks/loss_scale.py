"""The scale of fp16's loss, as the plan says it: Composer's Trainer takes no numbers for it."""

from __future__ import annotations

from composer.core import Callback, State
from composer.loggers import Logger
from torch.amp.grad_scaler import GradScaler

from schemas.plan import LossScalePlan

__all__ = ["LossScale"]


class LossScale(Callback):  # type: ignore[misc]  # composer has no types
    """Gives Composer's scaler the plan's numbers before a checkpoint's are loaded."""

    def __init__(self, plan: LossScalePlan) -> None:
        self._plan = plan

    def before_load(self, state: State, logger: Logger) -> None:
        """A new scaler of the kind that Composer chose, which is another one under FSDP."""
        kind: type[GradScaler] = type(state.scaler)
        state.scaler = kind(init_scale=self._plan.initial, growth_interval=self._plan.growth_interval)
