"""The model that leaves the run: the finished one made as small as its techniques allow, written, counted and timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from runtime.algorithms import ship
from runtime.layout import Layout
from runtime.model import load_trained
from schemas.plan import RunPlan

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["is_compressed", "load_shipped"]


def is_compressed(plan: RunPlan) -> bool:
    """Whether what is shipped differs from what was trained."""
    return any(step.kind == "compress" for step in plan.steps)


def load_shipped(plan: RunPlan, layout: Layout, eos_token_id: int | None = None) -> PreTrainedModel:
    """The finished model in the form in which it is exported, on the CPU in fp32; quantised weights are integers.

    Raises:
        RunFailed: there is no checkpoint of the last step that is whole (RC606).
        Refused: the checkpoint belongs to another plan (RC602).
    """
    return cast("PreTrainedModel", ship(plan, load_trained(plan, layout, eos_token_id)))
