"""How the model lies on the devices: one copy each, or sharded, with activation checkpointing only where memory needs it."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.estimate.memory import MARGIN, Workload, largest_microbatch, peak_bytes
from compiler.provenance import From, Reason
from schemas.plan import ParallelismPlan
from schemas.units import format_bytes

__all__ = ["parallelism", "workload"]


def workload(draft: Draft, *, shards: int, checkpointing: bool) -> Workload:
    """What memory depends on, from the draft."""
    return Workload(
        model=draft.model,
        precision=draft.precision,
        hardware=draft.hardware,
        optimizer=draft.recipe.training.optimizer.kind,
        shards=shards,
        checkpointing=checkpointing,
        extra_parameters=sum(fragment.memory_parameters for fragment in draft.fragments),
    )


def parallelism(draft: Draft) -> Draft:
    """Fill `parallelism`: the first layout that fits, cheapest first (whole, whole + recompute, sharded, sharded + recompute)."""
    devices, said = draft.hardware.count, draft.recipe.training.activation_checkpointing
    per_device = draft.batch.samples // devices
    choices = [
        (shards, checkpointing)
        for shards in dict.fromkeys((1, devices))
        for checkpointing in ((False, True) if said is None else (said,))
        if shards == 1 or draft.hardware.gpu != "cpu"
    ]
    fitting = [c for c in choices if largest_microbatch(workload(draft, shards=c[0], checkpointing=c[1]), per_device)]
    if not fitting:
        shards, checkpointing = choices[-1]
        least = peak_bytes(workload(draft, shards=shards, checkpointing=checkpointing), 1)
        have = draft.hardware.memory_bytes
        draft = draft.find(
            draft.diagnostic(
                "RC502",
                f"one sequence needs {format_bytes(least)} on each device; {draft.hardware.gpu} has {format_bytes(have)}, "
                f"of which a plan uses {MARGIN:.0%}",
                *(("hardware", "count") if "hardware" in draft.recipe.model_fields_set else ("model", "size")),
                help="use more or larger devices, a smaller model, or a shorter sequence"
                + ("; or `activation_checkpointing: true`" if said is False else ""),
            )
        )
        fitting = [(shards, checkpointing)]
    shards, checkpointing = fitting[0]
    section = ParallelismPlan(
        strategy="none" if devices == 1 else "ddp" if shards == 1 else "fsdp",
        devices=devices,
        nodes=-(-devices // draft.hardware.per_node),
        activation_checkpointing=checkpointing,
    )
    first = Reason("the first that fits of: one copy a device, with recomputation, sharded, both")
    return draft.fill(
        "parallelism",
        section,
        {
            "strategy": first,
            "devices": From("hardware.count"),
            "nodes": Reason("devices / devices per node"),
            "activation_checkpointing": From("training.activation_checkpointing") if said is not None else first,
        },
    )
