"""A plan and its prepared data, made into a Composer Trainer; `build_training` is the list of what goes into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from composer import Trainer
from composer.core import Event
from composer.utils import dist

from runtime import compat
from runtime.algorithms import build_algorithms
from runtime.callbacks.console import ConsoleProgress
from runtime.callbacks.ledger import Ledger
from runtime.callbacks.metrics_file import MetricsFile
from runtime.callbacks.saver import Saver
from runtime.callbacks.spend import SpendWatch
from runtime.checkpoint import Checkpoint
from runtime.data.planned_dataset import PlannedDataset, check_draws
from runtime.data.ranges import SourceData
from runtime.errors import RunFailed
from runtime.feed import evaluators, find_sources, open_dataset, per_device_batch, train_data
from runtime.layout import Layout
from runtime.loggers import build_loggers
from runtime.models.classifier import Classifier
from runtime.models.planned import CausalLM, blocks, check_vocabulary, initial_model
from runtime.optim import build_optimizer, build_schedule
from runtime.precision import (
    composer_device,
    composer_precision,
    convert_model,
    device_kind,
    fsdp_mixed_precision,
    loss_scaling,
)
from runtime.preemption import StopSignal
from runtime.spend import Meter
from runtime.steps.base import Inputs
from runtime.tokenizer import padding_id
from schemas.plan import RunPlan
from schemas.sources import MdsSource

if TYPE_CHECKING:
    from composer.core import Algorithm, Callback
    from transformers import PreTrainedModel

__all__ = ["Training", "build_training", "join_ranks", "parallelism"]

# Ranks wait for the first one while it writes and hashes a checkpoint (half an hour for 70B parameters at 0.5 GB/s) or
# hashes prepared shards (1 s/GB); Composer's 300 s would end such runs.
_WAIT_SECONDS: Final = 3600.0
_SHARDING: Final = {"full": "FULL_SHARD", "gradients": "SHARD_GRAD_OP"}


@dataclass(frozen=True)
class Training:
    """A trainer, ready to fit, and what is read after it."""

    trainer: Trainer
    ledger: Ledger
    saver: Saver


def build_training(
    plan: RunPlan,
    layout: Layout,
    inputs: Inputs,
    found: Checkpoint | None,
    stop: StopSignal,
    meter: Meter | None = None,
) -> Training:
    """Everything that trains a plan, from its first step or from a checkpoint; the first rank's `meter` counts its cost.

    Raises:
        DataError: data or vocabulary don't fit the plan (RC401, RC405, RC406, RC408, RC411).
        RunFailed: batch or precision don't fit these machines (RC205, RC503).
    """
    sources, dataset = _data(plan, layout, inputs, found)
    unique = {source.name: source.train.samples for source in sources}
    ledger = Ledger(plan, unique, padding=padding_of(plan, inputs))
    spend = SpendWatch(meter)
    saver = Saver(plan, layout.checkpoints, ledger, lambda: stop.received or spend.reached, found)
    model = build_model(plan, layout, eos_of(inputs), found)
    optimizer = build_optimizer(model, plan.training.optimizer)
    algorithms = build_algorithms(plan, layout)
    trainer = Trainer(
        model=model,
        train_dataloader=train_data(plan, dataset, ledger),
        max_duration=f"{plan.training.steps}ba",
        optimizers=optimizer,
        schedulers=build_schedule(optimizer, plan.training.schedule, plan.training.steps),
        step_schedulers_every_batch=True,
        eval_dataloader=evaluators(plan, dataset, sources),
        algorithms=algorithms,
        algorithm_passes=[in_plan_order(algorithms)],
        # The ledger first, since the others read it; the saver last, so that what it saves is what was logged.
        callbacks=[ledger, *watchers(plan, layout, ledger), *loss_scaling(plan.precision), spend, saver],
        loggers=build_loggers(plan, layout),
        run_name=layout.run.name,
        # The dataset resumes by itself, and iterating held-out data once on resume would only cost time.
        spin_dataloaders=False,
        progress_bar=False,
        **_computing(plan),
    )
    return Training(trainer, ledger, saver)


def _data(
    plan: RunPlan, layout: Layout, inputs: Inputs, found: Checkpoint | None
) -> tuple[tuple[SourceData, ...], PlannedDataset]:
    """What was prepared, compared with the plan, and its samples from where the run stands."""
    if not plan.is_classifier:
        check_vocabulary(plan.decoder, inputs["tokenizer"].values["vocab_size"])
    sources = find_sources(plan, layout, inputs)
    check_draws(plan.data, sources)
    dataset = open_dataset(plan, layout, sources)
    if found is not None:
        dataset.go_on_from(found.progress.samples)
    return sources, dataset


def _computing(plan: RunPlan) -> dict[str, Any]:
    """How the Trainer computes: device, precision, memory, seed."""
    return {
        "device": composer_device(plan),
        "precision": composer_precision(plan.precision, on_gpu=device_kind(plan) == "gpu"),
        "parallelism_config": parallelism(plan),
        "device_train_microbatch_size": min(plan.training.microbatch, per_device_batch(plan)),
        "compile_config": {} if plan.model.compile else None,
        "deterministic_mode": plan.training.deterministic,
        "seed": plan.seed,
    }


def padding_of(plan: RunPlan, inputs: Inputs) -> int | None:
    """The id of padding, where there may be any: text is packed by us without, ready-made samples may be filled up."""
    ready_made = (isinstance(source, MdsSource) and source.content == "tokens" for source in plan.data.sources.values())
    return padding_id(inputs["tokenizer"].folder) if any(ready_made) else None


def join_ranks(plan: RunPlan) -> None:
    """Let the processes of a run find each other; torchrun sets all variables but Composer's NODE_RANK."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        os.environ.setdefault("NODE_RANK", str(int(os.environ.get("RANK", "0")) // local))
        dist.initialize_dist(device_kind(plan), timeout=_WAIT_SECONDS)


def eos_of(inputs: Inputs) -> int | None:
    """The end of text of the run's tokenizer, where it has one."""
    return inputs["tokenizer"].values.get("eos_token_id") if "tokenizer" in inputs else None


def build_model(
    plan: RunPlan, layout: Layout, eos_token_id: int | None, found: Checkpoint | None = None
) -> CausalLM | Classifier:
    """The model before its first step, with recomputed activations and FSDP's seams where the plan has them."""
    built = initial_model(plan, layout, eos_token_id, found)
    if plan.is_classifier:
        convert_model(built, plan.precision)
        return Classifier(built, plan.objective, plan.resnet.num_classes)
    model = cast("PreTrainedModel", built)
    compat.attend_without_masks(model)
    convert_model(model, plan.precision)
    if plan.parallelism.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if plan.parallelism.strategy == "fsdp":
        for block in blocks(model):
            block._fsdp_wrap = True  # type: ignore[assignment]  # Composer's mark
    return CausalLM(model, z_loss=plan.objective.z_loss)


def in_plan_order(algorithms: Sequence[Algorithm]) -> Callable[[Sequence[Algorithm], Event], Sequence[Algorithm]]:
    """Composer reverses the order on `after_*` events; the plan's order holds on all."""
    position = {id(algorithm): number for number, algorithm in enumerate(algorithms)}

    def ordered(running: Sequence[Algorithm], event: Event) -> Sequence[Algorithm]:  # noqa: ARG001  # Composer's
        return sorted(running, key=lambda algorithm: position.get(id(algorithm), len(position)))

    return ordered


def watchers(plan: RunPlan, layout: Layout, ledger: Ledger) -> list[Callback]:
    """What shows and logs a run, on the first rank."""
    if dist.get_global_rank() != 0:
        return []
    found: list[Callback] = []
    if plan.logging.jsonl:
        found.append(MetricsFile(layout.metrics, ledger))
    if plan.logging.console:
        found.append(ConsoleProgress(ledger, plan.training.steps, counted=plan.counted))
    return found


def _groups(plan: RunPlan, ranks: int) -> tuple[int, int]:
    """Devices that share a copy, and copies. On another number of devices than planned: groups as planned, or one of all."""
    degree = plan.parallelism.shard_degree
    return (degree, ranks // degree) if ranks % degree == 0 else (ranks, 1)


def parallelism(plan: RunPlan) -> dict[str, Any] | None:
    """FSDP's settings; one copy a device (DDP) needs none. Gathered checkpoints suit any number of devices.

    Raises:
        RunFailed: there is no GPU to shard over (RC607).
    """
    if plan.parallelism.strategy != "fsdp":
        return None
    if device_kind(plan) != "gpu":
        message = "the plan shards the model over GPUs (FSDP), and torch sees none"
        raise RunFailed("RC607", message, "run it where the GPUs are; `recipec doctor` says what torch sees")
    degree, replicas = _groups(plan, int(dist.get_world_size()))
    return {
        "fsdp": {
            "sharding_strategy": _SHARDING[plan.parallelism.sharding],
            # Ranks of a group are neighbours, so groups lie inside machines. With replicas Composer makes a mesh of two
            # dimensions, over which FULL_SHARD becomes torch's HYBRID_SHARD.
            "data_parallel_shard_degree": degree,
            **({"data_parallel_replicate_degree": replicas} if replicas > 1 else {}),
            "mixed_precision": fsdp_mixed_precision(plan.precision),
            "state_dict_type": "full",
            "use_orig_params": True,
        }
    }
