"""Models that score documents: Hugging Face folders that someone else made, looked up like any path of the recipe."""

from __future__ import annotations

from pathlib import Path

from runtime.data.locate import find_folder
from runtime.errors import DataError
from schemas.curriculum import CurriculumPlan
from schemas.plan import RunPlan

__all__ = ["check_models", "model_folder"]


def model_folder(curriculum: CurriculumPlan, source: str, roots: tuple[Path, ...]) -> Path | None:
    """The folder of the model that reads a source's documents; None where the score needs none.

    Raises:
        DataError: there is no such folder (RC401).
    """
    if curriculum.model is None:
        return None
    folder = find_folder(curriculum.model, roots)
    if folder is None:
        looked = ", ".join(str(root) for root in roots)
        raise DataError(
            "RC401",
            f"there is no model `{curriculum.model}` to score `{source}` by; looked in {looked}",
            "check `model` of the curriculum",
        )
    return folder.resolve()


def check_models(plan: RunPlan, roots: tuple[Path, ...]) -> None:
    """Look for every model that scores, before hours of preparing.

    Raises:
        DataError: a folder is missing (RC401).
    """
    for source, curriculum in plan.data.curricula.items():
        model_folder(curriculum, source, roots)
