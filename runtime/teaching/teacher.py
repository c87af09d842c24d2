"""The teachers of a distillation: found before anything runs, pinned by their content, loaded, and compared with the student."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from runtime.data.locate import find_folder
from runtime.errors import DataError, RunFailed
from runtime.layout import Layout
from runtime.lineage import earlier, plans, reads_like, trained_key
from runtime.load import load_plan
from runtime.models.folders import check_tokenizer, content, hub_folder, num_parameters
from runtime.models.frozen import described_resnet, load_frozen, load_frozen_resnet
from runtime.record import read_record, step_folder
from runtime.tokenizer import padding_id
from schemas.plan import RunPlan
from schemas.sources import MdsSource
from schemas.techniques.distillation import DistillationAlgorithm, TeacherPlan

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "check_present",
    "check_tokenizers",
    "flops_per_token",
    "load_teachers",
    "padding_of",
    "pins",
    "specs_of",
]


def specs_of(plan: RunPlan) -> tuple[DistillationAlgorithm, ...]:
    """The distillations of a plan: one, or none."""
    return tuple(spec for spec in plan.algorithms if isinstance(spec, DistillationAlgorithm))


def check_present(plan: RunPlan, layout: Layout) -> None:
    """Look for every teacher that exists before the plan is run, so that a missing one is not found hours later.

    Raises:
        DataError: a folder or a run is missing (RC401).
    """
    for teacher in (teacher for spec in specs_of(plan) for teacher in spec.teachers):
        if teacher.folder is not None or teacher.checkpoint is not None:
            _found(teacher, layout)


def pins(plan: RunPlan, layout: Layout) -> list[Any]:
    """What names the weights of each teacher: hashes of its files, or the key of the training that made it.

    Raises:
        DataError: a teacher is missing (RC401).
        RunFailed: a run that teaches is not finished (RC606), or the hub can't be reached (RC607).
    """
    return [_pin(teacher, plan, layout) for spec in specs_of(plan) for teacher in spec.teachers]


def _pin(teacher: TeacherPlan, plan: RunPlan, layout: Layout) -> Any:
    if teacher.run is not None:
        return trained_key(teacher.run, plan, layout)
    if teacher.checkpoint is None:
        return content(_folder(teacher, plan, layout))
    before, place = _other_run(teacher, layout)
    record = read_record(place.step_result(next(step.id for step in before.steps if step.kind == "train")))
    if record is None or not record.is_finished:
        remedy = "finish that run first, or name its folder of another plan"
        raise RunFailed("RC606", f"the run in {place.run} that teaches has not been trained to its end", remedy)
    return record.key


def _found(teacher: TeacherPlan, layout: Layout) -> Path:
    """A folder of this machine, looked up like any path of the recipe."""
    named = str(teacher.folder or teacher.checkpoint)
    folder = find_folder(named, layout.roots)
    if folder is None:
        looked = ", ".join(str(root) for root in layout.roots)
        key = "teacher" if teacher.folder else "teacher.checkpoint"
        raise DataError("RC401", f"there is no teacher `{named}`; looked in {looked}", f"check `distillation.{key}`")
    return folder


def _folder(teacher: TeacherPlan, plan: RunPlan, layout: Layout) -> Path:
    """The Hugging Face folder of a teacher, fetched where it comes from the hub."""
    if teacher.hub is None:
        return _found(teacher, layout)
    remedy = "or give its folder: `teacher: {folder: ...}`"
    return hub_folder(teacher.hub, teacher.revision, "the teacher", remedy, offline=plan.execution.offline)


def _other_run(teacher: TeacherPlan, layout: Layout) -> tuple[RunPlan, Layout]:
    """Plan and folders of another recipe's run, which may be one of a sequence.

    Raises:
        DataError: there is no such folder (RC401), or no plan in it (RC605).
    """
    folder = _found(teacher, layout).resolve()
    found = plans(load_plan(folder / "plan.yaml"))
    plan = next((run for run in found if folder.name == f"{run.name}-{run.short_fingerprint}"), found[-1])
    there = Layout.of(plan, roots=layout.roots, runs=folder.parent)
    return plan, dataclasses.replace(there, run=folder)


def load_teachers(spec: DistillationAlgorithm, plan: RunPlan, layout: Layout) -> list[nn.Module]:
    """The frozen models, in fp32 on the CPU, in the plan's order.

    Raises:
        DataError: a teacher is missing or damaged (RC401), has another vocabulary (RC406) or too few positions (RC203).
        RunFailed: a run that teaches is not finished (RC606), or the hub can't be reached (RC607).
    """
    found = []
    for teacher in spec.teachers:
        model = _load(teacher, plan, layout)
        _check_shape(teacher, model, plan)
        found.append(model.eval().requires_grad_(False))
    return found


def _load(teacher: TeacherPlan, plan: RunPlan, layout: Layout) -> nn.Module:
    # Imported here: who only looks for a teacher or pins it needs no Composer, whose import takes seconds.
    from runtime import compat
    from runtime.models.planned import load_trained

    if teacher.run is not None:
        model = load_trained(*earlier(teacher.run, plan, layout))
    elif teacher.checkpoint is not None:
        model = load_trained(*_other_run(teacher, layout))
    elif plan.is_classifier:
        model = load_frozen_resnet(_folder(teacher, plan, layout), "the teacher").float()
    else:
        model = load_frozen(_folder(teacher, plan, layout), "the teacher").float()
    if not plan.is_classifier:
        compat.attend_without_masks(cast("Any", model))
    return model


def _check_shape(teacher: TeacherPlan, model: nn.Module, plan: RunPlan) -> None:
    """Refuse a teacher whose logits are of something else, or that can't read whole samples."""
    config: Any = getattr(model, "config", None)
    theirs, what = getattr(config, "vocab_size", None), "tokens"
    if plan.is_classifier:
        theirs, what = getattr(getattr(model, "fc", None), "out_features", None), "classes"
    ours = plan.resnet.num_classes if plan.is_classifier else plan.decoder.vocab_size
    if theirs != ours:
        raise DataError(
            "RC406",
            f"the teacher `{teacher.name}` has {_said(theirs)} {what}, the model {ours:,}: logits can't be compared",
            "use a teacher of the same classes"
            if plan.is_classifier
            else "use a teacher with the same tokenizer, and set `model.vocab_size` to the teacher's",
        )
    length = plan.data.sequence_length
    positions = getattr(config, "max_position_embeddings", None) or length
    if not plan.is_classifier and positions < length:
        message = f"the teacher `{teacher.name}` reads {positions:,} tokens at once, and samples have {length:,}"
        raise DataError("RC203", message, f"choose another teacher, or `data.sequence_length: {positions}`")


def _said(number: int | None) -> str:
    return "no" if number is None else f"{number:,}"


def flops_per_token(plan: RunPlan, layout: Layout, steps: int) -> float:
    """FLOPs of the teachers' forward passes per trained token over the first `steps` steps, 2 N_T each, as the plan counts.

    Kept logits took theirs before the training.
    """
    found = 0.0
    for spec in specs_of(plan):
        if spec.top_k is None:
            sizes = [_macs(teacher, plan, layout) for teacher in spec.teachers]
            at_once = len(sizes) if spec.sampling == "all" else 1
            found += 2.0 * spec.duty(steps, plan.training.global_batch_tokens) * sum(sizes) * at_once / len(sizes)
    return found


def _macs(teacher: TeacherPlan, plan: RunPlan, layout: Layout) -> int:
    """Multiply-adds of a token's forward pass: the parameters of a language model."""
    if teacher.run is not None:
        return earlier(teacher.run, plan, layout)[0].model.macs_per_token
    if teacher.checkpoint is not None:
        return _other_run(teacher, layout)[0].model.macs_per_token
    folder = _folder(teacher, plan, layout)
    return described_resnet(folder, "the teacher").macs if plan.is_classifier else num_parameters(folder)


def tokenizer_folder(plan: RunPlan, layout: Layout) -> Path | None:
    """The folder of a run's tokenizer; None where its step was not run here, or there is none."""
    step = next((step for step in plan.steps if step.kind == "tokenizer"), None)
    record = None if step is None else read_record(layout.step_result(step.id))
    return None if step is None or record is None else step_folder(step, record.key, layout)


def padding_of(plan: RunPlan, layout: Layout) -> int | None:
    """The id of padding, where samples may have any: ready-made ones; text is packed without."""
    ready_made = any(isinstance(s, MdsSource) and s.content == "tokens" for s in plan.data.sources.values())
    folder = tokenizer_folder(plan, layout) if ready_made else None
    return None if folder is None else padding_id(folder)


def check_tokenizers(plan: RunPlan, layout: Layout, tokenizer: Path) -> None:
    """Refuse teachers whose token ids mean other words than those of the run's tokenizer.

    Raises:
        DataError: the vocabularies differ (RC406), or a teacher is missing (RC401).
    """
    for teacher in (teacher for spec in specs_of(plan) for teacher in spec.teachers):
        if teacher.run is not None:
            before, place = earlier(teacher.run, plan, layout)
        elif teacher.checkpoint is not None:
            before, place = _other_run(teacher, layout)
        else:
            check_tokenizer(_folder(teacher, plan, layout), tokenizer)
            continue
        reader = reads_like(before)
        at = place if reader.name == before.name else earlier(str(reader.run), before, place)[1]
        theirs = tokenizer_folder(reader, at)
        if theirs is not None and theirs != tokenizer:
            check_tokenizer(theirs, tokenizer)
