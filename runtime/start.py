"""Trained weights that a run begins with, from a Hugging Face folder or the hub: found, pinned and compared with the plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.data.locate import find_folder
from runtime.errors import DataError
from runtime.frozen import load_frozen
from runtime.layout import Layout
from schemas.plan import RunPlan

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["folder_of_start", "load_start"]


def folder_of_start(plan: RunPlan, roots: tuple[Path, ...]) -> Path | None:
    """The folder that a plan's weights come from; None where they don't come from one.

    Raises:
        DataError: there is no such folder (RC401).
    """
    if plan.start is None or plan.start.folder is None:
        return None
    folder = find_folder(plan.start.folder, roots)
    if folder is None:
        looked = ", ".join(str(root) for root in roots)
        message = f"there are no weights `{plan.start.folder}`; looked in {looked}"
        raise DataError("RC401", message, "check `model.start.folder`")
    return folder


def load_start(plan: RunPlan, layout: Layout, eos_token_id: int | None = None) -> PreTrainedModel:
    """The model in the start's folder, in fp32 with gradients.

    Raises:
        DataError: it can't be read (RC401), or has other dimensions than the plan (RC406).
    """
    folder = folder_of_start(plan, layout.roots)
    assert folder is not None
    model = load_frozen(folder, "the start").float().requires_grad_(True)
    found = sum(parameter.numel() for parameter in model.parameters())
    if found != plan.model.num_parameters:
        raise DataError(
            "RC406",
            f"the plan has {plan.model.num_parameters:,} parameters, the model in {folder} has {found:,}",
            "compile the recipe again where the folder is at hand",
        )
    if eos_token_id is not None:
        model.config.eos_token_id = eos_token_id
    return model
