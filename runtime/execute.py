"""Executes a plan's steps in order; what is already done, by content, is not done again.

    for each step:  identity + keys of inputs -> key -> a finished result under it?  yes: reuse   no: run, record

Tokenizer and prepared data go to the shared cache, as folders that appear whole. What belongs to this run alone
(training, evaluation, export) works in the run's folder. Every step leaves steps/<id>.json.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from runtime.bias.gate import gate_error
from runtime.bias.text import table
from runtime.errors import Refused, RunFailed
from runtime.files import atomic_folder, mark_cache, remove_stale, remove_whole
from runtime.layout import Layout
from runtime.record import ADOPTED, CACHED, Record, is_present, read_record, step_folder, step_key, write_record
from runtime.reporting.report import write_report
from runtime.status import Status, facts, rank, say, world_size
from runtime.steps.base import Context, Result, StepModule
from schemas.plan import RunPlan, Step

__all__ = ["Outcome", "execute", "step_module"]


@dataclass(frozen=True)
class Outcome:
    """How far it came: all chosen steps, or up to a training that was stopped, by a signal or by its caps."""

    state: Literal["finished", "interrupted", "capped"]
    records: dict[str, Record] = field(default_factory=dict)


def step_module(kind: str) -> StepModule:
    """The module that does steps of a kind; imported only now, since some take seconds."""
    return cast("StepModule", importlib.import_module(f"runtime.steps.{kind}"))


def execute(
    plan: RunPlan,
    layout: Layout,
    *,
    only: Sequence[str] | None = None,
    modules: Callable[[str], StepModule] = step_module,
) -> Outcome:
    """Run the chosen steps of a plan (default: all); the others must have been run before.

    The caller holds the run folder's lock. Under torchrun every rank calls this, for steps of kind train only.

    Raises:
        RunError: a step found something wrong, or needs one that has not been run (RC606).
    """
    context = Context(plan, layout)
    if rank() == 0:
        _clean(layout)
    records: dict[str, Record] = {}
    for number, step in enumerate(plan.steps, start=1):
        label = f"step {number}/{len(plan.steps)} {step.id}"
        if only is not None and step.id not in only:
            stored = read_record(layout.step_result(step.id))
            if stored is not None and all(
                name in records and records[name].key == key for name, key in stored.inputs.items()
            ):
                records[step.id] = stored
            continue
        stopped = _stopped_input(step, records)
        if stopped is not None:
            say(f"{label}: waits, since {stopped} is not finished. The same command goes on from there.")
            return Outcome("interrupted", records)
        Status(layout.run / "status.json").begin(step.id)
        record = _step(step, context, _results(step, context, records), modules(step.kind), label)
        records[step.id] = record
        if rank() == 0:
            write_report(plan, layout, records)
        _judge(record, context)
        if record.values.get("status") == "capped":
            return Outcome("capped", records)
        if not record.is_finished:
            say(f"stopped at batch {record.values['steps']:,}; saved. The same command goes on from there.")
            return Outcome("interrupted", records)
    return Outcome("finished", records)


def _judge(record: Record, context: Context) -> None:
    """Stop after a comparison of classes that exceeds the plan's limits; what it measured is recorded.

    An export that an earlier start left, under wider limits, is withdrawn: what is not to be shipped must not lie there ready.

    Raises:
        RunFailed: CEV or SDE is above its limit (RC610).
    """
    plan, layout = context.plan, context.layout
    error = gate_error(plan.evaluation.bias, record.values) if record.kind == "compare" else None
    if error is None:
        return
    if rank() == 0 and layout.export.exists():
        for step in plan.steps:
            if step.kind == "export":
                layout.step_result(step.id).unlink(missing_ok=True)
        remove_whole(layout.export)
        say(f"{layout.export} is removed: an earlier start made it under other limits")
    say(table(record.values, 100))
    raise error


def _clean(layout: Layout) -> None:
    """Remove what killed processes left half-written; in the run's folder the lock says that nobody else writes."""
    mark_cache(layout.cache)
    remove_stale(layout.cache)
    for folder in (layout.run, layout.checkpoints, layout.run / "steps"):
        remove_stale(folder, ours=True)


def _stopped_input(step: Step, records: dict[str, Record]) -> str | None:
    return next((name for name in step.inputs if name in records and not records[name].is_finished), None)


def _results(step: Step, context: Context, records: dict[str, Record]) -> dict[str, Result]:
    """Results of a step's inputs.

    Raises:
        RunFailed: an input has not been run here, or its files are gone (RC606).
    """
    results = {}
    for producer in context.plan.steps:
        if producer.id not in step.inputs:
            continue
        record = records.get(producer.id)
        if record is None or not is_present(producer, record, context.layout):
            raise RunFailed(
                "RC606",
                f"step {step.id} reads {producer.id}, which has not been run into {context.layout.run}",
                f"run it first: --steps {producer.id} (or --steps all)",
            )
        _judge(record, context)
        folder = step_folder(producer, record.key, context.layout)
        results[producer.id] = Result(producer.id, record.key, folder, record.values)
    return results


def _step(step: Step, context: Context, inputs: dict[str, Result], module: StepModule, label: str) -> Record:
    """Reuse or run one step, and record it."""
    if world_size() > 1 and step.kind != "train":
        raise RunFailed(
            "RC606",
            f"step {step.id} runs in one process, and this is one of {world_size()}",
            "start only the training under torchrun, as launch/local.sh does: --steps train",
        )
    layout = context.layout
    keys = {name: result.key for name, result in inputs.items()}
    key = step_key(step, module.identity(step, context, inputs), keys)
    folder = step_folder(step, key, layout)
    place = folder / "result.json" if step.kind in CACHED else layout.step_result(step.id)
    stored = read_record(place)
    same = stored is not None and stored.key == key
    if stored is not None and same and stored.is_finished and is_present(step, stored, layout):
        say(f"{label}: nothing has changed, reused")
        record = stored.model_copy(update={"reused": True})
    else:
        say(f"{label}: started")
        # The time of a training that was stopped counts: it goes on from there.
        before = stored.seconds if stored is not None and same and not stored.is_finished else 0.0
        values = {"status": "started"}
        started = Record(kind=step.kind, key=key, inputs=keys, seconds=before, reused=False, values=values)
        record = _run(step, context, inputs, module, started)
        if record.is_finished:
            say(f"{label}: done in {record.seconds:.1f} s; {facts(step.kind, record.values, context.plan.counted)}")
    if rank() == 0:
        write_record(layout.step_result(step.id), record)
    return record


def _run(step: Step, context: Context, inputs: dict[str, Result], module: StepModule, started: Record) -> Record:
    """Do the work of one step."""
    layout, begin = context.layout, time.perf_counter()
    folder = step_folder(step, started.key, layout)
    if step.kind not in CACHED:
        if step.kind == "train":
            _begin_training(layout.step_result(step.id), layout, started)
        folder.mkdir(parents=True, exist_ok=True)
        return _done(started, module.run(step, context, inputs, folder), begin)
    # A folder without a whole result is damaged: somebody deleted a part of it. Another run may have made it since, and
    # read it now.
    with atomic_folder(folder, replace=lambda: not is_present(step, started, layout)) as temporary:
        record = _done(started, module.run(step, context, inputs, temporary), begin)
        write_record(temporary / "result.json", record)
    return record


def _done(started: Record, values: dict[str, object], begin: float) -> Record:
    return started.model_copy(update={"values": values, "seconds": started.seconds + time.perf_counter() - begin})


def _begin_training(place: Path, layout: Layout, started: Record) -> None:
    """Note on which data a training begins, and refuse to continue its checkpoints on other data.

    Raises:
        Refused: the inputs have changed since the run's checkpoints were made (RC602).
    """
    stored = read_record(place)
    before = {} if stored is None else stored.inputs
    # A source that an adopted run did not have is drawn later; schemas/resume.py has compared the others.
    adopted = stored is not None and stored.key == ADOPTED
    compared = [name for name in started.inputs if stored is not None and (name in before or not adopted)]
    changed = [name for name in compared if before.get(name) != started.inputs[name]]
    if stored is not None and not changed and stored.key not in (started.key, ADOPTED):
        # Of one plan, all else that a training's key holds.
        changed = ["the weights that it starts from or is taught by"]
    if changed and layout.checkpoints.is_dir() and any(layout.checkpoints.glob("ba*")):
        raise Refused(
            "RC602",
            f"the checkpoints in {layout.checkpoints} were made on other data: {', '.join(changed)} changed since",
            f"restore it to go on, or remove {layout.run} to start anew",
        )
    if rank() == 0:
        write_record(place, started)
