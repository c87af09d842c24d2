"""Names of a classifier's classes, as an export keeps them beside its weights, and where two networks' names disagree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["CLASSES_FILE", "differing_class"]

CLASSES_FILE: Final = "classes.json"
"""A list of names in the order of the outputs."""


def differing_class(ours: Sequence[str], theirs: Sequence[str]) -> int | None:
    """The first output that has one name here and another one there; None if there is none as far as names are known.

    A class that has only its number for a name (MDS shards know no others) may be any class.
    """
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other and str(number) not in (one, other):
            return number
    return None
