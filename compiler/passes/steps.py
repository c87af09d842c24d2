"""The graph of steps: tokenizer, one prepare a source, train, evaluate, export."""

from __future__ import annotations

from compiler.costing.times import Costs
from compiler.draft import Draft
from compiler.provenance import Reason
from schemas.plan import Step

__all__ = ["steps"]


def steps(draft: Draft) -> Draft:
    """Fill `steps`, in an order in which they can run."""
    devices = draft.hardware.count
    sources = list(draft.data.sources)
    prepared = tuple(
        f"prepare-{i}" if len(f"prepare-{name}") > 64 else f"prepare-{name}" for i, name in enumerate(sources)
    )
    costs: Costs = draft.sections["costs"]
    seconds = costs.steps
    found = [
        Step(id="tokenizer", kind="tokenizer", inputs=(), source=None, devices=1, seconds=seconds["tokenizer"]),
        *(
            Step(
                id=step_id,
                kind="prepare",
                inputs=("tokenizer",),
                source=name,
                devices=1,
                seconds=seconds[f"prepare {name}"],
            )
            for step_id, name in zip(prepared, sources, strict=True)
        ),
        Step(
            id="train",
            kind="train",
            inputs=("tokenizer", *prepared),
            source=None,
            devices=devices,
            seconds=costs.train,
        ),
        Step(
            id="evaluate",
            kind="evaluate",
            inputs=("tokenizer", *prepared, "train"),
            source=None,
            devices=1,
            seconds=seconds["evaluate"],
        ),
    ]
    if draft.recipe.checkpoints.export:
        found.append(
            Step(
                id="export",
                kind="export",
                inputs=("tokenizer", "train", "evaluate"),
                source=None,
                devices=1,
                seconds=seconds["export"],
            )
        )
    return draft.fill("steps", tuple(found), {"": Reason("one step a kind of work; a prepare for each source")})
