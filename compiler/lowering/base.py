"""What every lowering has, and the time window that most of them need."""

from __future__ import annotations

from typing import Protocol

from compiler.draft import Draft
from schemas.fragment import Fragment, Requirement
from schemas.techniques import Technique, Window
from schemas.units import Time

__all__ = ["Lowering", "known", "starts", "steps", "whole_run", "window"]


class Lowering(Protocol):
    """Pure: reads the frozen draft, states what the technique adds."""

    def __call__(self, technique: Technique, draft: Draft, /) -> Fragment: ...


def steps(draft: Draft, time: Time) -> int:
    """A time in steps; an unknown one (epochs of a source without size) counts as 0, and `known` reports it."""
    try:
        return draft.batch.steps_of(time)
    except ValueError:
        return 0


def window(draft: Draft, start: Time, end: Time) -> Window:
    """[start, end) in tokens, on batch boundaries."""
    tokens = draft.batch.tokens
    return Window(start_token=steps(draft, start) * tokens, end_token=steps(draft, end) * tokens)


def whole_run(draft: Draft) -> Window:
    """From the first token to the last."""
    return Window(start_token=0, end_token=draft.batch.total_tokens)


def known(draft: Draft, **times: Time) -> tuple[Requirement, ...]:
    """Requirements that times in epochs can be resolved, and that nothing lies beyond the run."""
    found = []
    for name, time in times.items():
        resolvable = time.unit != "ep" or draft.batch.epoch_tokens is not None
        found.append(
            Requirement(
                holds=resolvable,
                key=name,
                message=f"{time} needs the size of every source",
                help=f"{name}: 0.5dur",
            )
        )
        if resolvable:
            found.append(
                Requirement(
                    holds=steps(draft, time) <= draft.batch.steps,
                    key=name,
                    message=f"{time} is step {steps(draft, time)}, the run has {draft.batch.steps}",
                    help=f"{name}: 0.5dur",
                )
            )
    return tuple(found)


def starts(draft: Draft) -> bool:
    """Whether there are trained weights to begin with; `previous` means none in the first run of a sequence."""
    start = draft.recipe.model.start
    return start is not None and (start.run != "previous" or draft.run_named("previous") is not None)
