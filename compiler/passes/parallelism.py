"""How the model lies on the devices: the fastest of the layouts that fit, with its micro-batch, in explicit numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from compiler.costing.site import known_site
from compiler.draft import Draft
from compiler.estimate.workload import OPTIMIZER_STATES, Layout, Numerics, Shape, Workload
from compiler.layout.choice import choose, layouts, why
from compiler.layout.too_large import too_large
from compiler.passes.images import images_parallelism
from compiler.provenance import Because, From, Reason
from schemas.diagnostics import Diagnostic
from schemas.fragment import Fragment
from schemas.plan import ModelPlan, ParallelismPlan, PrecisionPlan
from schemas.training import OptimizerKind

__all__ = ["learning", "numerics_of", "parallelism", "shape_of", "workload"]


def shape_of(model: ModelPlan) -> Shape:
    """The dimensions that estimates calculate with."""
    gpt2 = model.family == "gpt2"
    return Shape(
        layers=model.num_layers,
        hidden=model.hidden_size,
        heads=model.num_heads,
        kv_heads=model.num_kv_heads,
        head_size=model.hidden_size // model.num_heads,
        intermediate=model.intermediate_size,
        vocabulary=model.vocab_size,
        gated=not gpt2,
        tied=model.tie_embeddings,
        positions=model.max_sequence_length if gpt2 else 0,
        biases=gpt2,
        parameters=model.num_parameters,
        active_parameters=model.num_parameters,
    )


def numerics_of(precision: PrecisionPlan, optimizer: OptimizerKind) -> Numerics:
    """Formats and bytes of weights, gradients and states: 4 each, or 2 where weights are kept in bf16.

    Weights are used in 16 bits unless products are in fp32. With Adam that is 4 + 4 + 8 = 16 bytes a parameter; copies in 16
    bits that autocast makes layer by layer are activations.
    """
    kept = 2.0 if precision.param == "bf16" else 4.0
    return Numerics(
        compute=precision.compute,
        weight_bytes=kept,
        gathered_bytes=4.0 if precision.compute == "fp32" else 2.0,
        gradient_bytes=kept,
        optimizer_bytes=OPTIMIZER_STATES[optimizer] * kept,
        reduce_bytes=4.0 if precision.reduce == "fp32" else 2.0,
    )


def learning(
    shape: Shape, numerics: Numerics, extra_flops: float, fragments: Iterable[Fragment]
) -> tuple[Shape, Numerics, float]:
    """Shape, numbers and added FLOPs per token of a model of which techniques train a part.

    Adapters leave the other weights frozen: without gradients and states, and kept in few bits. Factors take the place of
    weights, which are gone: their bytes, too. Fragments say FLOPs in full; those of the weight gradients that frozen weights
    don't have (2 of 6 N) follow from `trainable` in the speed's own formulas, and must not count twice.

    Args:
        shape: of the whole model.
        numerics: of it, all weights trained.
        extra_flops: of all fragments, per token.
        fragments: of the techniques.
    """
    whole = shape.parameters
    for fragment in fragments:
        if fragment.trainable_parameters is None:
            continue
        if fragment.shipped_parameters is not None:
            shape = replace(shape, parameters=fragment.trainable_parameters)
            continue
        share = min(1.0, fragment.trainable_parameters / whole)
        kept = numerics.weight_bytes if fragment.frozen_bytes is None else fragment.frozen_bytes
        numerics = replace(numerics, trainable=share, weight_bytes=kept)
        extra_flops += 2.0 * whole * (1.0 - share)
    return shape, numerics, extra_flops


def _unlaid(draft: Draft) -> Workload:
    """The step of a recipe before it is laid out: one copy a device, one sample at a time."""
    model, count = draft.decoder, draft.hardware.count
    shape, numerics, extra_flops = learning(
        shape_of(model),
        numerics_of(draft.precision, draft.recipe.training.optimizer.kind),
        sum(fragment.flops_per_token for fragment in draft.fragments),
        draft.fragments,
    )
    return Workload(
        shape=shape,
        numerics=numerics,
        layout=Layout(devices=count, per_node=min(draft.hardware.per_node, count), data=count),
        device=draft.device,
        sequence_length=draft.recipe.data.sequence_length,
        microbatch=1,
        accumulation=draft.batch.samples // count,
        attention="eager" if model.attention == "eager" else "flash2",
        compiled=model.compile,
        extra_parameters=sum(fragment.memory_parameters for fragment in draft.fragments),
        extra_flops_per_token=extra_flops,
        dropout=model.dropout > 0,
        z_loss=draft.recipe.objective.z_loss > 0,
        distilled=any(algorithm.kind == "distillation" for algorithm in draft.sections["algorithms"]),
    )


def workload(draft: Draft, *, layout: ParallelismPlan, microbatch: int) -> Workload:
    """The optimizer step of a recipe, laid out.

    Args:
        draft: sections up to `batch`, and the fragments of techniques.
        layout: how the model lies on the devices.
        microbatch: samples of one forward pass of a device.
    """
    w = _unlaid(draft)
    return replace(
        w,
        layout=replace(w.layout, sharding=layout.sharding, shard_degree=layout.shard_degree),
        recompute="full" if layout.activation_checkpointing else "none",
        microbatch=microbatch,
        accumulation=draft.batch.samples // draft.hardware.count // microbatch,
    )


def _microbatch(draft: Draft) -> tuple[Draft, int | None]:
    """The recipe's micro-batch, or the closest that divides a device's samples."""
    said, samples = draft.recipe.training.microbatch, draft.batch.samples // draft.hardware.count
    if said is None or samples % said == 0:
        return draft, said
    # A divisor of the batch that is at most what was asked; micro-batches are small, so the search is short.
    nearest = next(n for n in range(min(said, samples, 1 << 16), 0, -1) if samples % n == 0)
    return draft.find(
        draft.diagnostic(
            "RC205",
            f"a micro-batch of {said} doesn't divide the {samples} samples of each device",
            "training",
            "microbatch",
            help=f"microbatch: {nearest}",
        )
    ), nearest


def _refused(draft: Draft) -> Diagnostic | None:
    """Why the layout that the recipe asks for can't be had here."""
    said, count = draft.recipe.training.sharding, draft.hardware.count
    group = said.degree or draft.hardware.per_node
    # The whole of it: without its kind a degree would be left over.
    place, line = ("training", "sharding"), "sharding: none"
    if said.kind in ("auto", "none"):
        return None
    if draft.device.is_cpu or count == 1:
        what = (
            "one device has nobody to share with" if count == 1 else "FSDP shards over GPUs, and this recipe has none"
        )
        return draft.diagnostic("RC504", what, *place, help=line)
    if any(fragment.whole_weights for fragment in draft.fragments):
        what = "a technique of this recipe needs whole weights on each device, which sharding splits"
        return draft.diagnostic("RC504", what, *place, help=line)
    if said.kind == "hybrid" and (count % group or group >= count):
        fitting = [n for n in range(min(group, count - 1), 1, -1) if count % n == 0]
        return draft.diagnostic(
            "RC504",
            f"{count} devices don't split into several groups of {group}",
            *place,
            *(("degree",) if said.degree else ()),
            help=f"{'degree' if said.degree else 'sharding'}: " + (f"{fitting[0]}" if said.degree else "full")
            if fitting
            else "sharding: full",
        )
    return None


def parallelism(draft: Draft) -> Draft:
    """Fill `parallelism`, and note the micro-batch that goes with it."""
    if draft.is_classifier:
        return images_parallelism(draft)
    said = draft.recipe.training
    draft, microbatch = _microbatch(draft)
    refused = _refused(draft)
    if refused is not None:
        draft = draft.find(refused)
    kind = "none" if any(fragment.whole_weights for fragment in draft.fragments) else said.sharding.kind
    kind = "auto" if refused is not None else kind
    samples = draft.batch.samples // draft.hardware.count
    candidates = layouts(_unlaid(draft), kind, said.sharding.degree, said.activation_checkpointing)
    found = choose(candidates, samples, microbatch, known_site(draft)[1])
    if not found:
        draft = draft.find(too_large(draft, candidates, microbatch))
    chosen = found[0].workload if found else replace(candidates[-1], microbatch=microbatch or 1)
    layout, count = chosen.layout, draft.hardware.count
    section = ParallelismPlan(
        strategy="none" if count == 1 else "ddp" if layout.sharding == "none" else "fsdp",
        sharding="none" if layout.sharding == "none" else "full" if layout.sharding == "full" else "gradients",
        shard_degree=layout.shard_degree,
        replicas=count // layout.shard_degree,
        devices=count,
        nodes=-(-count // draft.hardware.per_node),
        activation_checkpointing=chosen.recompute == "full",
    )
    return draft.note("microbatch", chosen.microbatch).fill(
        "parallelism", section, _origins(draft, Reason(why(found, len(candidates))))
    )


def _origins(draft: Draft, reason: Reason) -> dict[str, Because]:
    said = draft.recipe.training
    layout: Because = reason if said.sharding.kind == "auto" else From("training.sharding")
    degree: Because = From("training.sharding.degree") if said.sharding.degree is not None else layout
    return {
        "strategy": layout,
        "sharding": layout,
        "shard_degree": degree,
        "replicas": Reason("devices / shard_degree"),
        "devices": From("hardware.count"),
        "nodes": Reason("devices / devices per node"),
        "activation_checkpointing": From("training.activation_checkpointing")
        if said.activation_checkpointing is not None
        else reason,
    }
