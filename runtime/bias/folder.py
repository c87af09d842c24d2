"""The folder of a reference that comes from one; without torch, so that it is looked for before anything runs."""

from __future__ import annotations

from pathlib import Path

from runtime.data.locate import find_folder
from runtime.errors import DataError
from schemas.evaluation import BiasPlan

__all__ = ["folder_of_reference"]


def folder_of_reference(bias: BiasPlan, roots: tuple[Path, ...]) -> Path:
    """The folder of a reference that comes from one.

    Raises:
        DataError: there is no such folder (RC401).
    """
    folder = find_folder(bias.folder or "", roots)
    if folder is None:
        looked = ", ".join(str(root) for root in roots)
        message = f"there is no reference `{bias.folder}`; looked in {looked}"
        raise DataError("RC401", message, "check `evaluation.bias.against`")
    return folder
