"""What is trained, on the plan's screen: the model, its tokens and loss, and the models that were not chosen."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.render import figures, words
from compiler.render.canvas import Canvas, Cell, Column, Piece, dim, strong
from compiler.render.choices import choices
from compiler.render.visible import clean
from schemas.plan import RunPlan

__all__ = ["choice_rows", "model_rows"]


def _classifier(canvas: Canvas, plan: RunPlan) -> None:
    model, budget = plan.resnet, plan.budget
    canvas.row(
        "Model",
        strong(f"{model.family}-{model.depth} {figures.figure(model.num_parameters)}"),
        f"{sum(model.blocks)} {model.block} blocks from {model.width} channels",
        f"{model.num_classes:,} classes",
        f"images {model.channels}×{model.image_size}×{model.image_size}",
    )
    canvas.row(
        "",
        strong(f"{figures.figure(budget.tokens)} images"),
        f"{figures.flops(6.0 * model.macs)} an image",
        figures.flops(budget.train_flops),
        *([f"{budget.epochs:.2g} epochs"] if budget.epochs > 1 else []),
    )


def model_rows(canvas: Canvas, plan: RunPlan) -> None:
    """The model, how much it is trained on, and the loss that the scaling law expects of that."""
    if plan.is_classifier:
        _classifier(canvas, plan)
        return
    model, budget = plan.decoder, plan.law_budget
    shared = f" ({model.num_kv_heads} kv)" if model.num_kv_heads != model.num_heads else ""
    canvas.row(
        "Model",
        strong(f"{model.family} {figures.figure(model.num_parameters)}"),
        f"{model.num_layers} layers × {model.hidden_size}",
        f"{model.num_heads} heads{shared}",
        f"mlp {model.intermediate_size}",
        f"vocabulary {model.vocab_size:,}",
    )
    canvas.row(
        "",
        strong(f"{figures.figure(budget.tokens)} tokens"),
        f"{figures.figure(budget.tokens_per_parameter)} per parameter",
        figures.flops(budget.train_flops),
        *([f"{budget.epochs:.2g} epochs"] if budget.epochs > 1 else []),
    )
    canvas.row("", *_loss(plan))


def _loss(plan: RunPlan) -> Iterator[Cell]:
    budget = plan.law_budget
    law = f"law {budget.scaling_law}"
    if plan.is_law_silent:
        yield dim(f"the {law} says nothing of {words.silence(plan)}")
        return
    spread, promise = "", plan.promise
    if budget.loss_low is not None and budget.loss_high is not None:
        spread = f" ({budget.loss_low:.3f} to {budget.loss_high:.3f})"
    yield strong(f"loss {promise.loss:.3f}", spread, f" by the {law}")
    if budget.extrapolated:
        yield (Piece("outside of its data", "warn"),)
    if promise.snapped_loss_delta >= 0.00005:
        yield f"{promise.snapped_loss_delta:.4f} above the best for its cost"
    if promise.repetition_loss >= 0.0005:
        yield f"{promise.repetition_loss:.3f} of it from repeated data"


def choice_rows(canvas: Canvas, plan: RunPlan) -> None:
    """Optimum and naive choice beside what was chosen, where they differ by something."""
    if plan.is_law_silent:
        return
    budget, found = plan.law_budget, choices(plan)
    if len(found) > 1:
        priced = found[0].life.usd > 0
        columns = (
            Column(""),
            Column("model", right=True),
            Column("tokens", right=True),
            Column("life FLOPs", right=True, rank=3),
            Column("life cost" if priced else "", right=True, rank=1),
            Column("", rank=2),
        )
        rows: list[list[Cell]] = [
            [
                choice.name,
                figures.figure(choice.parameters),
                figures.figure(choice.tokens),
                figures.flops(choice.life.flops).removesuffix(" FLOP"),
                figures.usd(choice.life.usd) if priced else "",
                dim(choice.note),
            ]
            for choice in found
        ]
        canvas.block("Choice", canvas.table(columns, rows))
    aim = "dollars" if budget.objective == "dollars" else "FLOPs"
    served = f", {figures.figure(budget.inference_tokens)} tokens served" if budget.inference_tokens else ""
    bound = (Piece(f"bound by {clean(budget.binding)}", "warn"),) if budget.binding else ""
    if len(found) > 1 or budget.binding:
        canvas.row("" if len(found) > 1 else "Choice", dim(f"least {aim} over its life{served}"), bound)
