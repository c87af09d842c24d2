"""Number formats that the device has, and that go with each other and with the recipe's techniques."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from compiler.draft import Draft
from compiler.provenance import Because, From, Reason
from schemas.diagnostics import Diagnostic, Related, Severity
from schemas.plan import LossScalePlan, PrecisionPlan
from schemas.training import LossScale, PrecisionName

__all__ = ["check_precision", "precision"]

_TILE: Final = 16
"""Rows, columns and tokens of a product in fp8 come in blocks of 16: torch._scaled_mm takes no others."""
_ROUNDED_AWAY: Final = 2.0**-8
"""bf16 keeps 8 bits of a weight: what is smaller than half of their last one, relative to it, changes nothing."""


def precision(draft: Draft) -> Draft:
    """Fill `precision`: what the recipe says, or bf16, fp16, fp32, whichever the device has first."""
    said = draft.recipe.precision
    device = draft.device
    order: tuple[PrecisionName, ...] = ("bf16", "fp16", "fp32")
    best = next(name for name in order if name in device.peak_flops)
    compute = said.compute or best
    if compute not in device.peak_flops:
        has = ", ".join(device.peak_flops)
        draft = draft.find(
            draft.diagnostic(
                "RC503",
                f"{device.name} can't compute in {compute}",
                "precision",
                "compute",
                help=f"compute: {best}" if draft.spans.key("precision", "compute") else f"precision: {best}",
                reason=f"it has {has}" + ("; Composer accepts only fp32 on a CPU" if device.is_cpu else ""),
            )
        )
        compute = best
    draft = draft.find(*_together(draft, compute))
    scale = said.loss_scale or LossScale()
    section = PrecisionPlan(
        param=said.param,
        compute=compute,
        reduce=said.reduce,
        norms=said.norms,
        loss_scale=LossScalePlan(**scale.model_dump()) if compute == "fp16" else None,
    )
    why: dict[str, Because] = {
        "compute": From("precision.compute") if said.compute else Reason(f"the best that {device.name} has"),
        "loss_scale": Reason("only fp16 loses small gradients: the range of the other formats is that of fp32"),
    }
    if compute == "fp16":
        why |= {f"loss_scale.{key}": From(f"precision.loss_scale.{key}") for key in LossScale.model_fields}
    if draft.spans.value("precision", "param") is None:
        why["param"] = Reason("weights are kept in fp32: bf16 would round small updates away")
    return draft.fill("precision", section, why)


def _together(draft: Draft, compute: PrecisionName) -> Iterator[Diagnostic]:
    """Formats that don't go with each other, whatever the model is."""
    said = draft.recipe.precision
    half = compute in ("bf16", "fp8")
    if said.param == "bf16" and not half:
        yield _refused(
            draft,
            f"weights in bf16 need products in bf16, and these are in {compute}",
            "param",
            fix="param: fp32",
            why="products in another format would convert every weight at every step",
        )
    if said.param == "bf16" and draft.recipe.averaging is not None:
        yield _refused(
            draft,
            "an average of weights in bf16 stands still: its updates are smaller than 1/256 of a weight",
            "param",
            fix="param: fp32",
            beside=("averaging",),
        )
    if said.norms == "low" and compute == "fp32":
        yield _refused(draft, "norms in low precision are in the format of the products, and that is fp32", "norms",
                       fix="norms: full")  # fmt: skip
    if said.loss_scale is not None and compute != "fp16":
        yield _refused(draft, f"{compute} has the range of fp32, and its loss is not scaled", "loss_scale",
                       fix="delete this line")  # fmt: skip
    yield from _of_sums(draft, compute)


def _of_sums(draft: Draft, compute: PrecisionName) -> Iterator[Diagnostic]:
    """Formats in which gradients can't be added up over devices."""
    said = draft.recipe.precision
    if (said.reduce == "fp16" and compute != "fp16") or (said.reduce == "bf16" and compute == "fp16"):
        yield _refused(
            draft,
            f"gradients of products in {compute} can't be summed in {said.reduce}",
            "reduce",
            fix="reduce: fp32",
            why="fp16 ends at 65,504, and only fp16 has a scale that keeps gradients inside"
            if said.reduce == "fp16"
            else "gradients in fp16 are scaled to its range and would lose 3 of their 11 bits in bf16",
        )
    elif said.reduce == "fp16" and draft.hardware.count > 1:
        yield draft.diagnostic(
            "RC503",
            f"sums in fp16 over {draft.hardware.count} devices overflow earlier than the gradients themselves",
            "precision",
            "reduce",
            help="reduce: fp32",
            reason="each overflow skips a step and halves the scale of the loss",
            severity=Severity.WARNING,
        )


def check_precision(draft: Draft) -> Draft:
    """Findings about formats that the model or the techniques can't have; for a pass that knows both."""
    found = [*_of_norms(draft), *_of_small_updates(draft)]
    if draft.precision.compute == "fp8":
        found += _of_fp8(draft)
    return draft.find(*found)


def _of_norms(draft: Draft) -> Iterator[Diagnostic]:
    if draft.precision.norms == "full" or draft.model.family == "gpt2":
        return
    if draft.model.family == "llama":
        yield _refused(
            draft,
            "llama has RMSNorms, and low precision is made for LayerNorm and GroupNorm",
            "norms",
            fix="norms: full",
            why="nothing would change",
        )
    elif draft.recipe.model.norm == "batch":
        yield _refused(
            draft, "this resnet has batch norms, which keep their statistics in fp32", "norms", fix="norms: full",
            why="GroupNorm (`model.norm: group`) has a form in low precision",
        )  # fmt: skip


def _of_small_updates(draft: Draft) -> Iterator[Diagnostic]:
    """Adam moves a weight by about the learning rate; weights have the size of `init_std`."""
    if draft.precision.param != "bf16" or draft.is_classifier or draft.recipe.training.adapter is not None:
        return  # adapters, which are what trains, stay in fp32
    training, std = draft.training, draft.decoder.init_std
    last = training.schedule.final_fraction if training.schedule.kind != "constant" else 1.0
    smallest = training.optimizer.lr * last
    if smallest < _ROUNDED_AWAY * std:
        yield draft.diagnostic(
            "RC503",
            f"at the end of the schedule an update is about {smallest / std:.1g} of a weight, and bf16 drops what is below 2^-8",
            "precision",
            "param",
            help="param: fp32",
            reason=f"learning rate {smallest:.2g}, weights of about {std:g}",
            severity=Severity.WARNING,
        )


def _of_fp8(draft: Draft) -> Iterator[Diagnostic]:
    """Float8 training of torchao replaces linear layers of sizes in 16s, whose weights are plain."""
    fix = "compute: bf16"
    if draft.model.family != "llama":
        yield _refused(draft, f"fp8 replaces linear layers, and {draft.model.family} has none of that form", "compute",
                       fix=fix)  # fmt: skip
        return
    model = draft.decoder
    sizes = {"hidden_size": model.hidden_size, "intermediate_size": model.intermediate_size}
    sizes["num_kv_heads"] = model.hidden_size // model.num_heads * model.num_kv_heads
    for key, size in sizes.items():
        if size % _TILE:
            yield _refused(draft, f"products in fp8 have sizes in 16s, and `model.{key}` gives {size}", "compute",
                           fix=fix, beside=("model", key))  # fmt: skip
    if draft.sample_tokens % _TILE:
        yield _refused(draft, f"products in fp8 have sizes in 16s, and a sample has {draft.sample_tokens} tokens",
                       "compute", fix=fix, beside=("data", "sequence_length"))  # fmt: skip
    if draft.recipe.training.adapter is not None:
        yield _refused(draft, "adapters and fp8 both replace the linear layers", "compute", fix=fix,
                       beside=("training", "adapter"))  # fmt: skip
    for number, technique in enumerate(draft.recipe.compression):
        if technique.kind == "pruning" or (technique.kind == "quantization" and technique.mode == "qat"):
            yield _refused(draft, f"{technique.kind} and fp8 both replace the linear layers", "compute", fix=fix,
                           beside=("compression", number))  # fmt: skip
    if not draft.recipe.training.compile:
        yield draft.diagnostic(
            "RC503",
            "without `training.compile` fp8 is hardly faster than bf16: the casts around each product are kernels of their own",
            "precision",
            "compute",
            help="training: {compile: true}",
            severity=Severity.WARNING,
        )


def _refused(
    draft: Draft, message: str, key: str, *, fix: str, why: str = "", beside: tuple[str | int, ...] = ()
) -> Diagnostic:
    """An error at a key of `precision`, with the other line that it doesn't go with."""
    finding = draft.diagnostic("RC503", message, "precision", key, help=fix, reason=why)
    span = draft.spans.nearest(*beside) if beside else None
    related = (Related(span=span, message="doesn't go with this"),) if span else ()
    return finding.model_copy(update={"related": related})
