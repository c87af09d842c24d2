"""The training step: builds the trainer, goes on from the newest whole checkpoint, and says what was done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.cap_error import cap_error
from runtime.errors import RunFailed
from runtime.models.class_names import names_in
from runtime.models.start import check_start, start_content
from runtime.spend import Meter, Spend, open_books, spent_before
from runtime.status import rank, world_size
from runtime.steps.base import Context, Inputs
from runtime.teaching.teacher import check_tokenizers, pins
from runtime.teaching.teacher import flops_per_token as teacher_flops
from schemas.plan import RunPlan, Step

if TYPE_CHECKING:
    from runtime.checkpoint import Checkpoint, Progress

__all__ = ["identity", "run"]


def identity(step: Step, context: Context, inputs: Inputs) -> Any:  # noqa: ARG001  # the contract
    """All of the plan that has a meaning, the start's and the teacher's weights; the data enters by the keys of the inputs."""
    teachers = pins(context.plan, context.layout)
    start = start_content(context.plan, context.layout)
    return {
        "plan": context.plan.fingerprint,
        **({"teachers": teachers} if teachers else {}),
        **({"start": start} if start else {}),
    }


def run(step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """Train, or go on training; under torchrun on every rank.

    Returns:
        `status` finished, interrupted or capped, and what was done over all resumptions: steps, tokens, seconds, losses,
        draws, spend. Only the first rank says capped; for the others it is an interruption like any other.

    Raises:
        DataError: data or vocabulary don't fit the plan.
        RunFailed: the machine doesn't fit the plan, the disk is full, or the loss is no number; there are more devices than
            the limit allows, or a cap was reached before a batch was done (RC608).
        Refused: the checkpoints belong to another plan (RC602).
    """
    plan, layout = context.plan, context.layout
    most = plan.budget.max_gpus
    if most is not None and world_size() > most:
        raise RunFailed(
            "RC608",
            f"{world_size()} processes were started, and `max_gpus` allows {most}",
            f"start at most {most}, or raise `max_gpus` under `budget` and compile again",
        )
    meter = None
    if rank() == 0:
        before = open_books(layout.spend, layout.checkpoints, plan)
        meter = Meter(layout.spend, plan, world_size(), before=before, carried=spent_before(plan, layout))
    cap = meter.refuses() if meter else None
    if meter is None or cap is not None:
        refusal = meter.refusal(cap) if meter and cap else None
        values = _run(context, inputs, None, refusal)
        if refusal is None:
            return values
        # A training that is done isn't stopped by anything, even though it cost as much as it may.
        return {**values, "spend": (refusal if values["status"] == "capped" else refusal.unstopped()).values()}
    with meter:  # what follows takes seconds to minutes before the first batch, in which devices are paid for
        values = _run(context, inputs, meter, None)
    return {**values, "spend": meter.now().values()}


def _run(context: Context, inputs: Inputs, meter: Meter | None, refusal: Spend | None) -> dict[str, Any]:
    """The training of one rank; not even begun where the books of the first rank are a refusal."""
    # Imported here: composer takes 7 to 20 s, and a run whose training is reused never needs it.
    import torch
    from composer.utils import dist

    from runtime.build import build_training, join_ranks
    from runtime.loggers import quiet
    from runtime.preemption import StopSignal

    plan, layout = context.plan, context.layout
    if plan.execution.threads is not None:
        torch.set_num_threads(plan.execution.threads)
    with quiet(), StopSignal() as stop:
        join_ranks(plan)
        found = newest(layout.checkpoints, plan)
        start = found.progress.step if found else None
        done = found is not None and found.progress.step >= plan.training.steps
        if not done and agreed(refusal is not None):
            return _refused(context, found, refusal)
        verify_data(inputs, deep=found is None)
        if "tokenizer" in inputs:
            check_tokenizers(plan, layout, inputs["tokenizer"].folder)
            check_start(plan, layout, inputs["tokenizer"].folder)
        elif plan.is_classifier:
            check_start(plan, layout, None, names_in(inputs))
        if found is not None and done:
            taught = teacher_flops(plan, layout, found.progress.step)
            return result(plan, found.progress, "finished", start, dist.get_world_size(), taught)
        with _told_deaths():
            training = build_training(plan, layout, inputs, found, stop, meter)
            del found
            try:
                training.trainer.fit()
                progress = training.ledger.progress(training.trainer.state)
            except BaseException:
                # Composer's `close` waits for the other ranks, and they wait for this one's part of a batch.
                training.trainer.engine.close()
                raise
            training.trainer.close()
    capped = meter is not None and meter.now().stopped_by is not None
    status = "finished" if not training.saver.interrupted else "capped" if capped else "interrupted"
    taught = teacher_flops(plan, layout, progress.step)
    return result(plan, progress, status, start, dist.get_world_size(), taught)


@contextlib.contextmanager
def _told_deaths() -> Iterator[None]:
    """Errors of the loader and of ranks as they are told to the user; the loader's processes end with the block.

    They end before the error is looked at: the death of one may raise torch's error a second time until it is reaped.
    """
    from runtime.fetching.worker_errors import BadSampleError, rank_death, worker_death
    from runtime.preemption import end_loaders

    try:
        try:
            yield
        finally:
            end_loaders()
    except BadSampleError as error:
        raise error.error() from error
    except (RuntimeError, OSError, EOFError) as error:
        told = worker_death(error) or rank_death(error)
        if told is None:
            raise
        raise told from error


def _refused(context: Context, found: Checkpoint | None, refusal: Spend | None) -> dict[str, Any]:
    """The result of a training that its cap doesn't let begin.

    Raises:
        RunFailed: there is no checkpoint that a result could speak of (RC608).
    """
    plan = context.plan
    if found is None:
        raise cap_error(plan, refusal or Spend(), 0, carried=spent_before(plan, context.layout))
    state, done = "capped" if refusal else "interrupted", found.progress.step
    return result(plan, found.progress, state, done, world_size(), teacher_flops(plan, context.layout, done))


def agreed(asked: bool) -> bool:
    """Whether any rank asks for it; all ranks must call this."""
    from composer.utils import dist

    votes: list[bool] = dist.all_gather_object(asked)
    return any(votes)


def newest(folder: Path, plan: RunPlan) -> Checkpoint | None:
    """The checkpoint that all ranks go on from: the first rank chooses, since it may set damaged ones aside."""
    from composer.utils import dist

    from runtime import checkpoint

    found = checkpoint.latest(folder, plan) if dist.get_global_rank() == 0 else None
    if dist.get_world_size() == 1:
        return found
    chosen = [found.folder.name if found else None]
    dist.broadcast_object_list(chosen)
    if dist.get_global_rank() == 0 or chosen[0] is None:
        return found
    return checkpoint.read(folder / chosen[0], plan)


def verify_data(inputs: Inputs, *, deep: bool) -> None:
    """Compare prepared shards with their manifests: all bytes when training begins (about 1 s/GB), sizes on resume.

    Every byte of scores, always: 12 a sample, and nothing looks at them again, while shards are compared when first read.
    """
    from composer.utils import dist

    from runtime.data.shards import verify_prepared

    if dist.get_local_rank() == 0:
        for found in inputs.values():
            if {"source", "scored", "taught"} & found.values.keys():
                verify_prepared(found.folder, deep=deep or "scored" in found.values)


def result(
    plan: RunPlan, progress: Progress, status: str, resumed_from: int | None, world_size: int, taught: float = 0.0
) -> dict[str, Any]:
    """The step's values; planned and actual tokens are compared per source in the report.

    Of the FLOPs that count for `mfu`, `taught` are the teachers', per token; other techniques add or save what the plan says.
    """
    from runtime.books import by_phase
    from runtime.checkpoint import folder_name
    from runtime.models.planned import flops_per_token

    length, seconds = plan.data.sequence_length, max(progress.seconds, 1e-9)
    others = sum(cost.train_flops for cost in plan.techniques if cost.kind != "distillation") / max(
        1, plan.budget.tokens
    )
    flops = progress.trained_tokens / seconds * (flops_per_token(plan.model, length) + taught + others)
    phases = by_phase(plan.data.phases, progress, length)
    return {
        "status": status,
        "steps": progress.step,
        "tokens": progress.tokens,
        "trained_tokens": progress.trained_tokens,
        "seconds": progress.seconds,
        "loss": progress.loss,
        "initial_loss": progress.initial_loss,
        "samples_per_source": progress.samples,
        "tokens_per_source": {name: samples * length for name, samples in progress.samples.items()},
        # None, each, where the run began under a version that did not count them.
        "samples_per_phase": phases,
        "padding_tokens_per_source": progress.padding if phases is not None else None,
        "truncated_tokens_per_source": progress.truncated if phases is not None else None,
        "tokens_per_s": progress.tokens / seconds,
        "mfu": flops / (plan.hardware.peak_flops * world_size),
        "resumed_from": resumed_from,
        "checkpoint": f"checkpoints/{folder_name(progress.step)}",
        "world_size": world_size,
    }
