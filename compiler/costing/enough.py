"""The least money or time that is enough where a budget is too small for anything: tried before it is offered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from compiler.draft import Draft
from compiler.passes.lifetime import too_little
from schemas.budget import Budget
from schemas.diagnostics import Diagnostic, DiagnosticsError, Severity

__all__ = ["with_enough"]

# A run of two steps saves and measures more than one of a single step, so a little more than the smallest may not do.
_STEPS: Final = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


def with_enough(draft: Draft, start: Draft, replan: Callable[[Draft], Draft]) -> Draft:
    """The finding that a target is too small, with a value under which the passes found a plan; others are left alone.

    Args:
        draft: after all passes.
        start: before them.
        replan: runs them on a changed recipe.
    """
    short = too_little(draft)
    errors = [found for found in draft.findings if found.severity is Severity.ERROR]
    if short is None or [found.path for found in errors] != [f"budget.{short.key}"]:
        return draft
    for step in _STEPS:
        line = short.line(step)
        value = line.partition(": ")[2]
        if _is_enough(start, short.key, value, replan):
            return _with_help(draft, errors[0], line)
    return draft


def _is_enough(start: Draft, key: str, value: str, replan: Callable[[Draft], Draft]) -> bool:
    try:
        # Read as a recipe would be, so that what was tried is what is written.
        said = getattr(Budget.model_validate({key: value}), key)
        budget = start.recipe.budget.model_copy(update={key: said})
        draft = replan(replace(start, recipe=start.recipe.model_copy(update={"budget": budget})))
    except (ValidationError, DiagnosticsError):
        return False
    return all(found.severity is not Severity.ERROR for found in draft.findings)


def _with_help(draft: Draft, finding: Diagnostic, line: str) -> Draft:
    better = finding.model_copy(update={"help": line})
    return replace(draft, findings=tuple(better if found is finding else found for found in draft.findings))
