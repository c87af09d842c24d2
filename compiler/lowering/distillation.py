"""Distillation: a teacher's term in the loss over a window, and what its forward pass costs."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.lowering.base import known, steps, window
from schemas.fragment import Claim, Fragment, Requirement
from schemas.techniques import Technique
from schemas.techniques.distillation import Distillation, DistillationAlgorithm

__all__ = ["lower"]


def lower(technique: Technique, draft: Draft, /) -> Fragment:
    """Shares the loss's terms with others. The teacher is taken to be as large as the student: its folder is not read here."""
    assert isinstance(technique, Distillation)
    start, end = steps(draft, technique.start), steps(draft, technique.end)
    duty = max(0.0, (end - start) / draft.batch.steps)
    return Fragment(
        claims=(Claim(slot="loss.terms", shared=True), Claim(slot="loss.teacher")),
        algorithms=(
            DistillationAlgorithm(
                window=window(draft, technique.start, technique.end),
                teacher=technique.teacher,
                temperature=technique.temperature,
                weight=technique.weight,
            ),
        ),
        requires=(
            *known(draft, start=technique.start, end=technique.end),
            Requirement(
                holds=start < end,
                key="end",
                message=f"the teacher ends at step {end}, not after its start at step {start}",
                help="end: 1dur",
            ),
        ),
        # 2 N_teacher FLOPs per token while it is active (6 N -> 6 N + 2 duty N_teacher).
        flops_per_token=2.0 * duty * draft.model.num_parameters,
        memory_parameters=draft.model.num_parameters,
        reason=f"teacher for {duty:.0%} of the run, temperature {technique.temperature:g}, weight {technique.weight:g}",
    )
