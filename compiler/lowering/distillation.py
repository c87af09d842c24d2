"""Distillation: teachers found and measured, a term in the loss behind one gate, and what their forward passes cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from compiler.draft import Draft
from compiler.lowering.base import known
from compiler.pretrained import described, hub_folder, read_config
from schemas.diagnostics import DiagnosticsError
from schemas.fragment import Claim, Fragment, Requirement
from schemas.plan import ModelPlan, ResNetPlan, RunPlan, TokenizerPlan
from schemas.techniques import Technique, Window
from schemas.techniques.distillation import Distillation, DistillationAlgorithm, Teacher, TeacherPlan
from schemas.techniques.sequence_length_warmup import SequenceLengthWarmup
from schemas.units import Time, format_bytes, format_count

__all__ = ["lower", "same_words"]

_PREVIOUS: Final = "previous"
# Of a source, what a plan checks or orders by, and not which text it is.
_LIMITS: Final = {"tokens", "max_epochs", "min_tokens", "curriculum"}


@dataclass(frozen=True, slots=True)
class _Known:
    """A teacher as far as it can be seen from here.

    Args:
        plan: where the runtime finds it.
        key: of the recipe, that names it.
        model: None where its folder is not at hand; it is then taken to be as large as the student.
        run: of which it is the finished model, if it is one of ours.
        problem: why it can't teach.
    """

    plan: TeacherPlan
    key: str
    model: ModelPlan | ResNetPlan | None = None
    run: RunPlan | None = None
    problem: str = ""


def lower(technique: Technique, draft: Draft, /) -> Fragment:
    """Shares the loss's terms with others, and claims the teacher. The first run of a sequence has no `previous` one."""
    assert isinstance(technique, Distillation)
    key = "teacher" if technique.teacher is not None else "teachers"
    first = draft.run is not None and not draft.earlier
    said = [teacher for teacher in technique.all_teachers if not (first and teacher.run == _PREVIOUS)]
    if not said:
        return Fragment(claims=(), reason="the first run of a sequence has no previous one: no teacher")
    teachers = [_known(teacher, key, draft) for teacher in said]
    start, end = _step(draft, technique.start), _step(draft, technique.end)
    # The gate opens on exactly this many steps, or with `probability` on each of them.
    opened = -(-max(0, end - start) // technique.every)
    duty = min(1.0, opened * technique.probability / draft.batch.steps)
    work, parameters = _sizes(technique, teachers, draft)
    algorithm = DistillationAlgorithm(
        window=Window(start_token=start * draft.batch.tokens, end_token=end * draft.batch.tokens),
        teachers=tuple(teacher.plan for teacher in teachers),
        sampling=technique.sampling if len(teachers) > 1 else "all",
        loss=technique.loss,
        temperature=technique.temperature,
        weight=technique.weight,
        every=technique.every,
        probability=technique.probability,
        top_k=None if technique.cache is None else min(technique.cache.top_k, _width(draft.model)),
    )
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
            *(need for teacher in teachers for need in _fits(teacher, draft)),
            *_cacheable(technique, draft),
        ),
        lints=_advice(technique, draft, duty),
        # 2 N_teacher FLOPs per token while it is active (6 N -> 6 N + 2 duty N_teacher); kept ones run before.
        flops_per_token=0.0 if kept else 2.0 * duty * work,
        memory_parameters=0 if kept else parameters,
        once_flops_per_token=2.0 * work if kept else 0.0,
        once_bytes_per_token=float(algorithm.row_bytes(_width(draft.model))) if kept else 0.0,
        reason=_reason(technique, teachers, draft, opened, parameters),
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


def _known(teacher: Teacher, key: str, draft: Draft) -> _Known:
    """Where a teacher is, and what can be seen of it without its weights."""
    if teacher.run is not None:
        return _of_sequence(teacher.run, key, draft)
    plan = TeacherPlan(folder=teacher.folder, hub=teacher.hub, revision=teacher.revision, checkpoint=teacher.checkpoint)
    if teacher.hub is not None:
        found = hub_folder(teacher.hub, teacher.revision)
    else:
        name = str(teacher.folder or teacher.checkpoint)
        places = (Path(root, Path(name).expanduser()) for root in draft.roots)
        found = next((place for place in places if place.is_dir()), None)
    if found is None:
        return _Known(plan, key)
    if teacher.checkpoint is not None:
        return _of_run(plan, key, found)
    model = described(found)
    return _Known(plan, key, _resnet(found) if model is None else model.as_plan())


def _resnet(folder: Path) -> ResNetPlan | None:
    """The classifier in a folder that recipec exported; None if there is none."""
    try:
        return ResNetPlan.model_validate(read_config(folder))
    except ValidationError:
        return None


def _of_sequence(name: str, key: str, draft: Draft) -> _Known:
    run = draft.run_named(name)
    if run is not None:
        return _Known(TeacherPlan(run=run.run, fingerprint=run.fingerprint), key, run.model, run)
    if draft.run is None:
        problem = f"there is no run `{name}` to learn from: the recipe has no `sequence`"
    elif name in draft.order:
        problem = f"`{name}` is {'itself' if name == draft.run else 'a later run'}, and a run learns from earlier ones"
    else:
        before = ", ".join(f"`{one.run}`" for one in draft.earlier) or "none"
        problem = f"there is no run `{name}` in `sequence`; earlier ones: {before}"
    return _Known(TeacherPlan(run=name), key, problem=problem)


def _of_run(plan: TeacherPlan, key: str, folder: Path) -> _Known:
    """The model of another recipe's run, by the plan in its folder."""
    from compiler.job.load_plan import load_plan  # only where it is needed: it reads YAML

    try:
        found = load_plan(folder)
    except DiagnosticsError as error:
        return _Known(plan, key, problem=error.diagnostics[0].message)
    run = next((one for one in found.runs if folder.resolve().name == f"{one.name}-{one.short_fingerprint}"), found)
    return _Known(plan, key, run.model, run)


def _width(model: ModelPlan | ResNetPlan) -> int:
    """Logits of one prediction."""
    return model.num_classes if isinstance(model, ResNetPlan) else model.vocab_size


def _sizes(technique: Distillation, teachers: list[_Known], draft: Draft) -> tuple[float, int]:
    """Multiply-adds of a token's forward pass through the teachers of one step, and parameters of all of them."""
    models = [teacher.model or draft.model for teacher in teachers]
    work = float(sum(model.macs_per_token for model in models))
    return work / (len(models) if technique.sampling == "one" else 1), sum(model.num_parameters for model in models)


def _fits(teacher: _Known, draft: Draft) -> Iterator[Requirement]:
    """What must hold for logits to be compared, as far as it is known here; the rest is checked when training begins."""
    name, ours = teacher.plan.name, draft.model
    yield Requirement(
        holds=not teacher.problem, key=teacher.key, message=teacher.problem, help=f"{teacher.key}: models/teacher"
    )
    theirs = teacher.model
    if theirs is None:
        return
    same_kind = isinstance(theirs, ModelPlan) is isinstance(ours, ModelPlan)
    what = "tokens" if isinstance(theirs, ModelPlan) else "classes"
    yield Requirement(
        holds=same_kind and _width(theirs) == _width(ours),
        key=teacher.key,
        message=f"the teacher `{name}` has {_width(theirs):,} {what}, the model {_width(ours):,}: logits can't be compared",
        help=f"vocab_size: {_width(theirs)}   # under `model`, with the teacher's tokenizer"
        if what == "tokens" and same_kind
        else "take a teacher of the same classes",
    )
    length = draft.sample_tokens
    positions = theirs.max_sequence_length if isinstance(theirs, ModelPlan) else length
    yield Requirement(
        holds=positions >= length,
        key=teacher.key,
        message=f"the teacher `{name}` reads {positions:,} tokens at once, and samples have {length:,}",
        help=f"sequence_length: {positions}   # under `data`",
    )
    run = teacher.run
    if run is not None and run.tokenizer is not None and not draft.is_classifier:
        yield Requirement(
            holds=same_words(run, run.tokenizer, draft),
            key=teacher.key,
            message=f"the teacher `{name}` has another tokenizer: token ids would mean other words",
            help="give both runs one tokenizer: `tokenizer: {kind: pretrained, path: ...}`",
        )


def same_words(run: RunPlan, theirs: TokenizerPlan, draft: Draft) -> bool:
    """Whether a run's tokenizer can be the draft's. One that is trained follows its sources; their shares are not compared."""
    if theirs != draft.tokenizer:
        return False
    mine = draft.beginning
    ours = None if mine is None or mine.run is None else _reader(mine.run, draft)
    if theirs.kind != "bpe" or _reader(run, draft) == ours:
        return True
    then = {name: source.model_dump(exclude=_LIMITS) for name, source in run.data.sources.items()}
    now = {name: source.model_dump(exclude=_LIMITS) for name, source in draft.recipe.data.sources.items()}
    return then == now


def _reader(run: RunPlan, draft: Draft) -> str | None:
    """Name of the first of the runs that a run starts from, whose tokenizer all of them have."""
    while run.start is not None and run.start.run is not None:
        before = draft.run_named(run.start.run)
        if before is None or before.run == run.run:
            break
        run = before
    return run.run


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
            help="delete this line, or let the run read its sources more than once",
        ),
    )


def _unique_tokens(draft: Draft) -> float | None:
    """Tokens that the steps `logits` read; None where a source's size is not known."""
    sizes = [source.tokens for source in draft.recipe.data.sources.values()]
    if any(size is None for size in sizes):
        return None
    return sum(size or 0 for size in sizes) * (1 - draft.recipe.evaluation.holdout)


def _reason(technique: Distillation, teachers: list[_Known], draft: Draft, opened: int, parameters: int) -> str:
    steps = draft.batch.steps
    names = ", ".join(f"`{teacher.plan.name}`" for teacher in teachers)
    chance = f", each with probability {technique.probability:g}" if technique.probability < 1 else ""
    unseen = [teacher.plan.name for teacher in teachers if teacher.model is None]
    size = f"{format_count(parameters)} parameters" + (
        f" ({', '.join(unseen)} not at hand: taken to be as large as the student)" if unseen else ""
    )
    found = f"{technique.loss} from {names} ({size}) on {opened:,} of {steps:,} steps{chance}"
    if technique.cache is not None:
        each = min(technique.cache.top_k, _width(draft.model))
        once = _unique_tokens(draft)
        total = "" if once is None else f", {format_bytes(once * _row_bytes(each, draft))} in all"
        found += f"; {each} logits of each prediction kept, {_row_bytes(each, draft)} bytes{total}"
    soft = "" if technique.loss == "mse" else f", temperature {technique.temperature:g}"
    return f"{found}{soft}, weight {technique.weight:g}"


def _row_bytes(top_k: int, draft: Draft) -> int:
    return DistillationAlgorithm.bytes_of(top_k, _width(draft.model))
