"""The training step: builds the trainer, goes on from the newest whole checkpoint, and says what was done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.steps.base import Context, Inputs
from runtime.teacher import check_tokenizer, content, folder_of
from schemas.plan import RunPlan, Step

if TYPE_CHECKING:
    from runtime.checkpoint import Checkpoint, Progress

__all__ = ["identity", "run"]


def identity(step: Step, context: Context, inputs: Inputs) -> Any:  # noqa: ARG001  # the contract
    """All of the plan that has a meaning, and the teacher's files; the data enters by the keys of the inputs."""
    teacher = folder_of(context.plan, context.layout.roots)
    return {"plan": context.plan.fingerprint, **({"teacher": content(teacher)} if teacher else {})}


def run(step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """Train, or go on training; under torchrun on every rank.

    Returns:
        `status` finished or interrupted, and what was done over all resumptions: steps, tokens, seconds, losses, draws.

    Raises:
        DataError: data or vocabulary don't fit the plan.
        RunFailed: the machine doesn't fit the plan, the disk is full, or the loss is no number.
        Refused: the checkpoints belong to another plan (RC602).
    """
    # Imported here: composer takes 7 to 20 s, and a run whose training is reused never needs it.
    import torch
    from composer.utils import dist

    from runtime.build import build_training, join_ranks
    from runtime.data.planned_dataset import BadSampleError
    from runtime.loggers import quiet
    from runtime.preemption import StopSignal

    plan, layout = context.plan, context.layout
    if plan.execution.threads is not None:
        torch.set_num_threads(plan.execution.threads)
    with quiet(), StopSignal() as stop:
        join_ranks(plan)
        found = newest(layout.checkpoints, plan)
        verify_data(inputs, deep=found is None)
        if teacher := folder_of(plan, layout.roots):
            check_tokenizer(teacher, inputs["tokenizer"].folder)
        start = found.progress.step if found else None
        if found is not None and found.progress.step >= plan.training.steps:
            return result(plan, found.progress, "finished", start, dist.get_world_size())
        try:
            training = build_training(plan, layout, inputs, found, stop)
            del found
            try:
                training.trainer.fit()
                progress = training.ledger.progress(training.trainer.state)
            finally:
                training.trainer.close()
        except BadSampleError as error:
            raise error.error() from error
    status = "interrupted" if training.saver.interrupted else "finished"
    return result(plan, progress, status, start, dist.get_world_size())


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
    """Compare prepared shards with their manifests: all bytes when training begins (about 1 s/GB), sizes on resume."""
    from composer.utils import dist

    from runtime.data.shards import verify_prepared

    if dist.get_local_rank() == 0:
        for prepared in inputs.values():
            if "source" in prepared.values:
                verify_prepared(prepared.folder, deep=deep)


def result(plan: RunPlan, progress: Progress, status: str, resumed_from: int | None, world_size: int) -> dict[str, Any]:
    """The step's values; planned and actual tokens are compared per source in the report."""
    from runtime.checkpoint import folder_name
    from runtime.model import flops_per_token

    length, seconds = plan.data.sequence_length, max(progress.seconds, 1e-9)
    flops = progress.trained_tokens / seconds * flops_per_token(plan.model, length)
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
        "tokens_per_s": progress.tokens / seconds,
        "mfu": flops / (plan.hardware.peak_flops * world_size),
        "resumed_from": resumed_from,
        "checkpoint": f"checkpoints/{folder_name(progress.step)}",
        "world_size": world_size,
    }
