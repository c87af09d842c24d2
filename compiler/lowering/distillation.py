"""Distillation: teachers found and measured, a term in the loss behind one gate, and what their forward passes cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from compiler.draft import Draft
from compiler.lineage.teachers import Known, fits, known_teacher, width
from compiler.lowering.base import known
from schemas.fragment import Claim, Fragment, Requirement
from schemas.techniques import Technique, Window
from schemas.techniques.distillation import Distillation, DistillationAlgorithm
from schemas.techniques.sequence_length_warmup import SequenceLengthWarmup
from schemas.units import Time, format_bytes, format_count

__all__ = ["lower"]

_PREVIOUS: Final = "previous"


def lower(technique: Technique, draft: Draft, /) -> Fragment:
    """Shares the loss's terms with others, and claims the teacher. The first run of a sequence has no `previous` one."""
    assert isinstance(technique, Distillation)
    key = "teacher" if technique.teacher is not None else "teachers"
    first = draft.run is not None and not draft.earlier
    said = [teacher for teacher in technique.all_teachers if not (first and teacher.run == _PREVIOUS)]
    if not said:
        return Fragment(claims=(), reason="the first run of a sequence has no previous one: no teacher")
    teachers = [known_teacher(teacher, key, draft) for teacher in said]
    start, end = _step(draft, technique.start), _step(draft, technique.end)
    # The gate opens on exactly this many steps, or with `probability` on each of them.
    opened = -(-max(0, end - start) // technique.every)
    duty = min(1.0, opened * technique.probability / draft.batch.steps)
    work, parameters = _sizes(technique, teachers, draft)
    window = Window(start_token=start * draft.batch.tokens, end_token=end * draft.batch.tokens)
    algorithm = _algorithm(technique, teachers, window, draft)
    kept = algorithm.top_k is not None
    return Fragment(
        claims=(Claim(slot="loss.terms", shared=True), Claim(slot="loss.teacher")),
        algorithms=(algorithm,),
        requires=(
            *known(draft, start=technique.start, end=technique.end),
            Requirement(
                holds=start < end or start > draft.batch.steps,  # what lies beyond the run is reported above
                key="end",
                message=f"the teacher ends at step {end}, not after its start at step {start}",
                help="end: 1dur",
            ),
            *(need for teacher in teachers for need in fits(teacher, draft)),
            *_cacheable(technique, draft),
        ),
        lints=_advice(technique, draft, duty),
        # 2 N_teacher FLOPs per token while it is active (6 N -> 6 N + 2 duty N_teacher); kept ones run before.
        flops_per_token=0.0 if kept else 2.0 * duty * work,
        memory_parameters=0 if kept else parameters,
        once_flops_per_token=2.0 * work if kept else 0.0,
        once_bytes_per_token=float(algorithm.row_bytes(width(draft.model))) if kept else 0.0,
        reason=_reason(technique, teachers, draft, opened, parameters),
    )


def _algorithm(technique: Distillation, teachers: list[Known], window: Window, draft: Draft) -> DistillationAlgorithm:
    return DistillationAlgorithm(
        window=window,
        teachers=tuple(teacher.plan for teacher in teachers),
        sampling=technique.sampling if len(teachers) > 1 else "all",
        loss=technique.loss,
        temperature=technique.temperature,
        weight=technique.weight,
        every=technique.every,
        probability=technique.probability,
        top_k=None if technique.cache is None else min(technique.cache.top_k, width(draft.model)),
    )


def _step(draft: Draft, time: Time) -> int:
    """The first step that begins at a time or later: a window of f dur opens on exactly ceil(f T) of T steps.

    A time in epochs of sources without a size counts as 0; `known` reports it.
    """
    batch = draft.batch
    scale = {"ba": 1.0, "tok": 1 / batch.tokens, "sp": 1 / batch.samples, "dur": float(batch.steps)}
    if time.unit == "ep":
        return 0 if batch.epoch_tokens is None else math.ceil(time.value * batch.epoch_tokens / batch.tokens - 1e-9)
    return math.ceil(time.value * scale[time.unit] - 1e-9)


def _sizes(technique: Distillation, teachers: list[Known], draft: Draft) -> tuple[float, int]:
    """Multiply-adds of a token's forward pass through the teachers of one step, and parameters of all of them."""
    models = [teacher.model or draft.model for teacher in teachers]
    work = float(sum(model.macs_per_token for model in models))
    return work / (len(models) if technique.sampling == "one" else 1), sum(model.num_parameters for model in models)


def _cacheable(technique: Distillation, draft: Draft) -> Iterator[Requirement]:
    """What kept logits need: samples that are the same when they are trained on."""
    if technique.cache is None:
        return
    warmup = draft.recipe.data.curriculum
    warmups = [one for one in (warmup if isinstance(warmup, tuple) else (warmup,)) if one is not None]
    yield Requirement(
        holds=all(one.truncate for one in warmups if isinstance(one, SequenceLengthWarmup)),
        key="cache",
        message="kept logits are of whole samples, and `data.curriculum` reshapes these into shorter ones",
        help="truncate: true   # in `data.curriculum`, or delete `cache`",
    )


def _advice(technique: Distillation, draft: Draft, duty: float) -> tuple[Requirement, ...]:
    """A cache that reads more than the run does."""
    if technique.cache is None:
        return ()
    what = "images" if draft.is_classifier else "tokens"
    once, needed = _unique_tokens(draft), duty * draft.batch.total_tokens
    return (
        Requirement(
            holds=once is None or once <= needed,
            key="cache",
            message=f"the teacher reads all {format_count(once or 0)} {what} of the sources for the cache, and would read "
            f"{format_count(needed)} while training",
            help="delete `cache`, or let the run read its sources more than once",
        ),
    )


def _unique_tokens(draft: Draft) -> float | None:
    """Tokens that the steps `logits` read; None where a source's size is not known."""
    sizes = [source.tokens for source in draft.recipe.data.sources.values()]
    if any(size is None for size in sizes):
        return None
    return sum(size or 0 for size in sizes) * (1 - draft.recipe.evaluation.holdout)


def _reason(technique: Distillation, teachers: list[Known], draft: Draft, opened: int, parameters: int) -> str:
    steps = draft.batch.steps
    names = ", ".join(f"`{teacher.plan.name}`" for teacher in teachers)
    chance = f", each with probability {technique.probability:g}" if technique.probability < 1 else ""
    unseen = [teacher.plan.name for teacher in teachers if teacher.model is None]
    size = f"{format_count(parameters)} parameters" + (
        f" ({', '.join(unseen)} not at hand: taken to be as large as the student)" if unseen else ""
    )
    found = f"{technique.loss} from {names} ({size}) on {opened:,} of {steps:,} steps{chance}"
    if technique.cache is not None:
        each = min(technique.cache.top_k, width(draft.model))
        once = _unique_tokens(draft)
        total = "" if once is None else f", {format_bytes(once * _row_bytes(each, draft))} in all"
        found += f"; {each} logits of each prediction kept, {_row_bytes(each, draft)} bytes{total}"
    soft = "" if technique.loss == "mse" else f", temperature {technique.temperature:g}"
    return f"{found}{soft}, weight {technique.weight:g}"


def _row_bytes(top_k: int, draft: Draft) -> int:
    return DistillationAlgorithm.bytes_of(top_k, width(draft.model))
