"""Passes of classifiers where no scaling law holds and no text is cut: targets, batch, budget, layout on the devices."""

from __future__ import annotations

import math
from typing import Final

from compiler.budgeting.law import known_law
from compiler.budgeting.serving import rates
from compiler.draft import Draft
from compiler.estimate.convnet import Architecture, StepOf, count, memory_of, speed_of
from compiler.estimate.law.optimum import Limits, Market
from compiler.estimate.memory.peak import budget_bytes
from compiler.estimate.workload import OPTIMIZER_STATES
from compiler.notes import Batch, Efforts, Targets
from compiler.provenance import Because, From, Reason
from schemas.diagnostics import Diagnostic
from schemas.plan import ParallelismPlan, PlainBudget
from schemas.units import format_bytes

__all__ = [
    "images_batch",
    "images_budget",
    "images_parallelism",
    "images_targets",
    "step_of",
    "step_seconds_of",
    "usual_images",
]

_FOUR_STAGES: Final = 256
_THREE_STAGES: Final = 128
_LEAST_STEPS: Final = 100
_SPARE: Final = 0.94
"""Of a device's memory that the plan fills."""


def images_targets(draft: Draft) -> Draft:
    """Note `targets` without any: the recipe says the network and how long it trains."""
    draft, known = known_law(draft)
    effort = (draft.recipe.hardware.mfu or 0.3) * draft.hardware.peak_flops
    return draft.note(
        "targets",
        Targets(
            parameters=0.0,
            known=known,
            market=Market(known.law, 0.0, Limits()),
            aim=None,
            found=None,
            serving=None,
            efforts=Efforts(effort, effort),
            rates=rates(None, draft.hardware.usd_per_gpu_hour, effort),
            follows_estimate=False,
        ),
    )


def usual_images(draft: Draft) -> int:
    """Images of a batch as He et al. 2016 trained: 256 with four stages (section 3.4), 128 with three (section 4.2)."""
    return _FOUR_STAGES if len(draft.resnet.blocks) == 4 else _THREE_STAGES


def images_batch(draft: Draft) -> Draft:
    """Note `batch`: images of a step as said or usual, steps from `training.duration`."""
    said, devices = draft.recipe.training, draft.hardware.count
    duration, images = said.duration, _images_trained_on(draft)
    if duration is None:
        line = "duration: 10ep" if images else "duration: 2000ba"
        draft = draft.find(
            draft.diagnostic(
                "RC304",
                "nothing says how long to train",
                "training",
                help=f"{line}   # under `training`; also 1e6sp, a number of images",
                reason="no scaling law holds for classifiers of images",
            )
        )
    elif duration.unit == "ep" and images is None:
        draft = draft.find(
            draft.diagnostic(
                "RC410",
                f"{duration} needs the number of images of every source",
                "training",
                "duration",
                help="add `tokens: 50000` to each of data.sources (an image counts as one), or write the duration in ba or sp",
            )
        )
    total = _wanted(draft, images)
    samples = said.batch
    if samples is None:
        usual = usual_images(draft)
        samples = max(1, min(usual, int(total / _LEAST_STEPS))) if total is not None else usual
    if said.batch is not None and said.batch < devices:
        message = f"a batch of {said.batch} images doesn't give each of {devices} devices one"
        draft = draft.find(draft.diagnostic("RC205", message, "training", "batch", help=f"batch: {devices}"))
    samples = max(1, round(samples / devices)) * devices
    if duration is not None and duration.unit == "ba":
        steps = round(duration.value)
    else:
        steps = round((total or 10_000) / samples)
    if steps < 1:
        message = f"the run of {total:.0f} images is shorter than one batch of {samples}"
        help_ = f"duration: {samples}sp   # at least, or a smaller `batch`"
        draft = draft.find(draft.diagnostic("RC301", message, "training", "duration", help=help_))
    return draft.note("batch", Batch(samples=samples, tokens=samples, steps=max(1, steps), epoch_tokens=images))


def _images_trained_on(draft: Draft) -> int | None:
    """Images of an epoch, about: chance decides which are held out. None where a source doesn't say how many it has."""
    sizes = [source.tokens for source in draft.recipe.data.sources.values()]
    known = [size for size in sizes if size is not None]
    return round(sum(known) * (1 - draft.recipe.evaluation.holdout)) if len(known) == len(sizes) else None


def _wanted(draft: Draft, images: int | None) -> float | None:
    """Images that the duration asks for; None where it is in batches, or can't be known."""
    duration = draft.recipe.training.duration
    match duration.unit if duration is not None else "":
        case "tok" | "sp":
            return duration.value if duration else None
        case "ep" if images is not None:
            return duration.value * images if duration else None
    return None


def images_budget(draft: Draft) -> Draft:
    """Note the budget as `unpriced`: images, FLOPs, limits, and nothing of a law."""
    said, total, images = draft.recipe.budget, draft.batch.total_tokens, draft.batch.epoch_tokens
    flops = 6.0 * draft.resnet.macs * total
    section = PlainBudget(
        tokens=total,
        train_flops=flops,
        inference_tokens=0,
        inference_flops=0.0,
        inference_usd=0.0,
        lifetime_flops=flops,
        lifetime_usd=0.0,
        unique_tokens=images,
        epochs=total / images if images else 0.0,
        max_cost_usd=said.max_cost,
        max_seconds=said.max_hours,
        max_gpus=said.max_gpus,
    )
    return draft.note("unpriced", section)


def step_of(draft: Draft, microbatch: int) -> StepOf:
    """The optimizer step of a classifier, with its techniques."""
    m, hardware = draft.resnet, draft.hardware
    shape = Architecture(m.block, m.blocks, m.width, m.stem, m.num_classes, m.channels, m.image_size)
    return StepOf(
        counts=count(shape),
        device=draft.device,
        compute=draft.precision.compute,
        devices=hardware.count,
        nodes=-(-hardware.count // hardware.per_node),
        samples=draft.batch.samples // hardware.count,
        microbatch=microbatch,
        state_bytes=4.0 * OPTIMIZER_STATES[draft.recipe.training.optimizer.kind],
        extra_parameters=float(sum(fragment.memory_parameters for fragment in draft.fragments)),
        extra_flops=float(sum(fragment.flops_per_token for fragment in draft.fragments)),
    )


def step_seconds_of(draft: Draft) -> float:
    """Length of one optimizer step of a classifier."""
    step = step_of(draft, draft.microbatch)
    return sum(speed_of(step, draft.recipe.hardware.mfu).seconds.values())


def images_parallelism(draft: Draft) -> Draft:
    """Fill `parallelism`: a whole network on each device, and the largest micro-batch that fits."""
    draft = draft.find(*_refused(draft))
    count_, samples, said = draft.hardware.count, draft.batch.samples // draft.hardware.count, draft.recipe.training
    room = budget_bytes(draft.device) * _SPARE
    fitting = [n for n in _divisors(samples) if memory_of(step_of(draft, n)).peak_bytes <= room]
    if said.microbatch is not None and samples % said.microbatch:
        nearest = max(n for n in _divisors(samples) if n <= said.microbatch)
        message = f"a micro-batch of {said.microbatch} doesn't divide the {samples} images of each device"
        draft = draft.find(draft.diagnostic("RC205", message, "training", "microbatch", help=f"microbatch: {nearest}"))
    elif said.microbatch not in (None, *fitting) or not fitting:
        draft = draft.find(_too_large(draft, said.microbatch or 1, max(fitting, default=0)))
    usable = (
        said.microbatch if said.microbatch is not None and samples % said.microbatch == 0 else max(fitting, default=1)
    )
    section = ParallelismPlan(
        strategy="none" if count_ == 1 else "ddp",
        sharding="none",
        shard_degree=1,
        replicas=count_,
        devices=count_,
        nodes=-(-count_ // draft.hardware.per_node),
        activation_checkpointing=False,
    )
    whole: Because = Reason("convolutional networks are small: each device holds a whole one")
    if said.sharding.kind == "none":
        whole = From("training.sharding")
    why: dict[str, Because] = {
        "": whole,
        "replicas": Reason("one a device"),
        "devices": From("hardware.count"),
        "nodes": Reason("devices / devices per node"),
        "activation_checkpointing": From("training.activation_checkpointing")
        if said.activation_checkpointing is not None
        else Reason("not built for convolutional networks"),
    }
    return draft.note("microbatch", usable).fill("parallelism", section, why)


def _divisors(samples: int) -> list[int]:
    low = [n for n in range(1, math.isqrt(samples) + 1) if samples % n == 0]
    return sorted({*low, *(samples // n for n in low)})


def _too_large(draft: Draft, microbatch: int, fitting: int) -> Diagnostic:
    """The finding that a micro-batch needs more memory than there is."""
    need, room = memory_of(step_of(draft, microbatch)).peak_bytes, budget_bytes(draft.device)
    return draft.diagnostic(
        "RC502",
        f"a micro-batch of {microbatch} images needs {format_bytes(need)} on each device; a plan may fill {format_bytes(room)}"
        f" of {draft.hardware.gpu}",
        *(("training", "microbatch") if fitting else ("model", "width")),
        help=f"microbatch: {fitting}" if fitting else "width: 32   # or a smaller `depth` or `data.image.size`",
    )


def _refused(draft: Draft) -> list[Diagnostic]:
    """Findings about layouts that only language models have."""
    said = draft.recipe.training
    found: list[Diagnostic] = []
    if said.sharding.kind not in ("auto", "none"):
        message = "a network for images is not sharded: each device holds a whole one"
        found.append(draft.diagnostic("RC504", message, "training", "sharding", help="sharding: none"))
    if said.activation_checkpointing:
        message = "a resnet keeps its activations"
        line = "activation_checkpointing: false   # a smaller `microbatch` needs less memory too"
        found.append(draft.diagnostic("RC203", message, "training", "activation_checkpointing", help=line))
    return found
