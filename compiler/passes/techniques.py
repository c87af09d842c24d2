"""Techniques of the recipe to algorithms of the plan."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.merge import conflicts, lowered, place, unmet
from compiler.provenance import Because, From, Reason

__all__ = ["techniques"]


def techniques(draft: Draft) -> Draft:
    """Fill `algorithms`, and note the fragments for the estimates of later passes."""
    parts = lowered(draft)
    draft = draft.find(*conflicts(draft, parts), *unmet(draft, parts))
    # What each algorithm was made from, in the order of the algorithms.
    made = [(algorithm, part) for part in parts for algorithm in part.fragment.algorithms]
    why: dict[str, Because] = {f"[{i}]": From(place(part), part.fragment.reason) for i, (_, part) in enumerate(made)}
    if not made:
        why = {"": Reason("the recipe lists no technique")}
    draft = draft.note("fragments", tuple(part.fragment for part in parts)).note("lowered", parts)
    return draft.fill("algorithms", tuple(algorithm for algorithm, _ in made), why)
