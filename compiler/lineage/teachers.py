"""Teachers of a distillation as far as they can be seen from here: earlier runs, plans of other runs, config.json of folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compiler.draft import Draft
from compiler.frontend.suggest import closest
from compiler.lineage.classifiers import NoClassifierError, classifier_in
from compiler.lineage.pretrained import described, hub_folder
from schemas.diagnostics import DiagnosticsError
from schemas.fragment import Requirement
from schemas.plan import ModelPlan, ResNetPlan, RunPlan, TokenizerPlan
from schemas.techniques.distillation import Teacher, TeacherPlan

__all__ = ["Known", "fits", "known_teacher", "same_words", "width"]

# Of a source, what a plan checks or orders by, and not which text it is.
_LIMITS: Final = {"tokens", "max_epochs", "min_tokens", "curriculum"}


@dataclass(frozen=True, slots=True)
class Known:
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
    help: str = ""
    """The line to write instead, where there is a problem."""


def known_teacher(teacher: Teacher, key: str, draft: Draft) -> Known:
    """Where a teacher is, and what can be seen of it without its weights."""
    if teacher.run is not None:
        return _of_sequence(teacher.run, key, draft)
    plan = TeacherPlan(
        run=None,
        fingerprint=None,
        folder=teacher.folder,
        hub=teacher.hub,
        revision=teacher.revision,
        checkpoint=teacher.checkpoint,
    )
    if teacher.hub is not None:
        found = hub_folder(teacher.hub, teacher.revision)
    else:
        name = str(teacher.folder or teacher.checkpoint)
        places = (Path(root, Path(name).expanduser()) for root in draft.roots)
        found = next((place for place in places if place.is_dir()), None)
    if found is None:
        return Known(plan, key)
    if teacher.checkpoint is not None:
        return _of_run(plan, key, found)
    model = described(found)
    return Known(plan, key, _resnet(found) if model is None else model.as_plan())


def _resnet(folder: Path) -> ResNetPlan | None:
    """The classifier in a folder that recipec exported; None if there is none."""
    try:
        return classifier_in(folder).model
    except NoClassifierError:
        return None


def _of_sequence(name: str, key: str, draft: Draft) -> Known:
    run = draft.run_named(name)
    if run is not None:
        return Known(_run_plan(run.run, run.fingerprint), key, run.model, run)
    before = [str(one.run) for one in draft.earlier]
    near = closest(name, before) or (before[-1] if before else None)
    help_ = ""
    if draft.run is None:
        problem = f"there is no run `{name}` to learn from: the recipe has no `sequence`"
        help_ = "teacher: models/teacher   # or a `sequence` of two runs, of which the first teaches"
    elif name in draft.order:
        problem = f"`{name}` is {'itself' if name == draft.run else 'a later run'}, and a run learns from earlier ones"
    else:
        problem = (
            f"there is no run `{name}` in `sequence`; earlier ones: {', '.join(f'`{one}`' for one in before) or 'none'}"
        )
    if near is not None:
        help_ = f"teacher: {{run: {near}}}" if key == "teacher" else f"{{run: {near}}}   # in `{key}`"
    return Known(_run_plan(name, None), key, problem=problem, help=help_)


def _run_plan(name: str | None, fingerprint: str | None) -> TeacherPlan:
    return TeacherPlan(run=name, fingerprint=fingerprint, folder=None, hub=None, revision=None, checkpoint=None)


def _of_run(plan: TeacherPlan, key: str, folder: Path) -> Known:
    """The model of another recipe's run, by the plan in its folder."""
    from compiler.job.load_plan import load_plan  # only where it is needed: it reads YAML

    try:
        found = load_plan(folder)
    except DiagnosticsError as error:
        return Known(plan, key, problem=error.diagnostics[0].message)
    run = next((one for one in found.runs if folder.resolve().name == f"{one.name}-{one.short_fingerprint}"), found)
    return Known(plan, key, run.model, run)


def width(model: ModelPlan | ResNetPlan) -> int:
    """Logits of one prediction."""
    return model.num_classes if isinstance(model, ResNetPlan) else model.vocab_size


def fits(teacher: Known, draft: Draft) -> Iterator[Requirement]:
    """What must hold for logits to be compared, as far as it is known here; the rest is checked when training begins."""
    name, ours = teacher.plan.name, draft.model
    yield Requirement(
        holds=not teacher.problem,
        key=teacher.key,
        message=teacher.problem,
        help=teacher.help or f"{teacher.key}: models/teacher",
    )
    theirs = teacher.model
    if theirs is None:
        return
    same_kind = isinstance(theirs, ModelPlan) is isinstance(ours, ModelPlan)
    what = "tokens" if isinstance(theirs, ModelPlan) else "classes"
    yield Requirement(
        holds=same_kind and width(theirs) == width(ours),
        key=teacher.key,
        message=f"the teacher `{name}` has {width(theirs):,} {what}, the model {width(ours):,}: logits can't be compared",
        help=f"vocab_size: {width(theirs)}   # under `model`, with the teacher's tokenizer"
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
