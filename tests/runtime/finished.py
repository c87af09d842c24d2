"""A run whose training has ended, for tests of what comes after it: real data, tokenizer, model and checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from runtime import checkpoint
from runtime.checkpoint import Progress
from runtime.models.planned import build_untrained
from runtime.steps.base import Context, Inputs, Result
from tests.runtime.corpus import context_of, plan_of, run_prepare, run_tokenizer, write_files
from tests.runtime.plans import sealed

__all__ = ["finished_run"]

_STEPS = ("train", "evaluate", "export")


def finished_run(folder: Path, **changes: Any) -> tuple[Context, Inputs]:
    """Context and inputs of the steps after training; the "training" is noise added to the initial weights.

    Two sources of small files, a vocabulary of 300 in an embedding of 512 rows.
    """
    for name in ("one", "two"):
        write_files(folder / name, 60)
    drawn = {"one": {"files": "one/*.txt"}, "two": {"files": "two/*.txt"}}
    plan = plan_of(drawn, **changes)
    prepares = tuple(f"prepare-{name}" for name in drawn)
    after = [
        {"id": kind, "kind": kind, "inputs": inputs, "source": None, "devices": 1, "seconds": 1.0}
        for kind, inputs in zip(
            _STEPS, (("tokenizer", *prepares), ("tokenizer", *prepares, "train"), ("tokenizer", "train")), strict=True
        )
    ]
    plan = type(plan).model_validate({**plan.model_dump(by_alias=True), "steps": [*plan.model_dump()["steps"], *after]})
    plan = sealed(plan)
    context = context_of(plan, folder)
    tokenizer = run_tokenizer(context, folder / "made" / "tokenizer")
    inputs = {"tokenizer": tokenizer}
    for name in drawn:
        place = folder / "made" / f"prepare-{name}"
        inputs[f"prepare-{name}"] = Result(
            f"prepare-{name}", "1" * 64, place, run_prepare(context, name, tokenizer, place)
        )
    context.layout.run.mkdir(parents=True)
    _save(context)
    values = {"status": "finished", "steps": 12, "tokens": 6144, "loss": 4.5, "seconds": 2.0, "world_size": 1}
    inputs["train"] = Result("train", "2" * 64, context.layout.run, values)
    return context, inputs


def _save(context: Context) -> None:
    """A last checkpoint with other weights than the first ones."""
    model = build_untrained(context.plan)
    generator = torch.Generator().manual_seed(0)
    weights = {
        f"model.{name}": weight + 0.05 * torch.randn(weight.shape, generator=generator)
        for name, weight in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    weights["model.lm_head.weight"] = weights["model.model.embed_tokens.weight"]
    progress = Progress(
        step=12,
        tokens=6144,
        trained_tokens=6144,
        seconds=2.0,
        initial_loss=6.2,
        loss=4.5,
        samples={"one": 48, "two": 48},
    )
    checkpoint.save(context.layout.checkpoints, context.plan, {"state": {"model": weights}}, progress, 1)
