"""What a classifier's outputs stand for: named by prepared data, kept beside exported weights, compared with others'."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import DataError
from runtime.files import read_json
from schemas.class_names import CLASSES_FILE, differing_class

if TYPE_CHECKING:
    from runtime.steps.base import Result

__all__ = ["check_classes", "names_in", "write_names"]


def names_in(inputs: Mapping[str, Result]) -> tuple[str, ...]:
    """Names of the classes in the order of their numbers, from the results of steps that prepared images; empty without any."""
    found = [result.values["classes"] for result in inputs.values() if "classes" in result.values]
    return tuple(str(name) for name in max(found, key=len, default=()))


def write_names(folder: Path, names: Sequence[str]) -> None:
    """Keep them beside a model."""
    (folder / CLASSES_FILE).write_text(json.dumps(list(names), indent=1) + "\n", encoding="utf-8")


def check_classes(folder: Path, what: str, names: Sequence[str]) -> None:
    """Refuse a classifier whose outputs stand for other classes; one without names of classes can't be asked.

    Args:
        folder: the model's.
        what: names it in messages, such as `the start`.
        names: of this run's classes.

    Raises:
        DataError: a class has another name there, or its names can't be read (RC416).
    """
    file = folder / CLASSES_FILE
    if not file.is_file():
        return
    theirs = read_json(file)
    if not isinstance(theirs, list) or not all(isinstance(name, str) for name in theirs):
        raise DataError("RC416", f"{file} holds no names of classes", f"export {what} again, or remove that file")
    number = differing_class(names, theirs)
    if number is not None:
        raise DataError(
            "RC416",
            f"class {number} is `{names[number]}` in the data, and `{theirs[number]}` in {what} in {folder}",
            "labels are numbers of outputs, by the order of the classes' names: use sources with the same classes",
        )
