"""Curricula of the recipe, over the mix or of single sources, with every time in tokens."""

from __future__ import annotations

from typing import Literal

from compiler.draft import Draft
from schemas.curriculum import Curriculum, CurriculumPlan

__all__ = ["curricula", "over_the_mix"]


def over_the_mix(draft: Draft) -> Curriculum | None:
    """The curriculum that all sources share, if there is one."""
    said = draft.recipe.data.curriculum
    entries = said if isinstance(said, tuple) else (said,)
    return next((entry for entry in entries if isinstance(entry, Curriculum)), None)


def curricula(draft: Draft) -> dict[str, CurriculumPlan]:
    """Each source that has a curriculum, its own before the shared one, in alphabetical order."""
    shared = over_the_mix(draft)
    found = {}
    for name in sorted(draft.recipe.data.sources):
        own = draft.recipe.data.sources[name].curriculum
        said = own or shared
        if said is not None:
            found[name] = _decided(said, draft, "source" if own else "mix")
    return found


def _decided(said: Curriculum, draft: Draft, scope: Literal["source", "mix"]) -> CurriculumPlan:
    steps = draft.batch.steps_of(said.duration)
    return CurriculumPlan(
        metric=said.by,
        model=said.model,
        order=said.order,
        pacing=said.pacing,
        start=said.start,
        end_token=steps * draft.batch.tokens,
        power=said.power,
        growth=said.growth,
        stages=said.stages,
        buckets=said.buckets,
        scope=scope,
    )
