"""The graph of steps: tokenizer, one prepare a source, one score a curriculum's source, train, compress, evaluate, export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compiler.costing.times import Costs
from compiler.draft import Draft
from compiler.provenance import Reason
from schemas.plan import Step, StepKind

__all__ = ["steps"]

_LONGEST_ID = 64


def steps(draft: Draft) -> Draft:
    """Fill `steps`, in an order in which they can run."""
    costs: Costs = draft.sections["costs"]
    prepared = _of_sources("prepare", draft.data.sources, draft, costs)
    scored = _of_sources("score", draft.data.curricula, draft, costs)
    taught = [name for name in draft.data.sources if f"logits {name}" in costs.steps]
    kept = _of_sources("logits", taught, draft, costs)
    data = ("tokenizer", *(step.id for step in prepared.values()))
    found = [
        Step(
            id="tokenizer",
            kind="tokenizer",
            inputs=(),
            source=None,
            devices=1,
            seconds=costs.steps.get("tokenizer", 0.0),
        ),
        *prepared.values(),
        *(
            step.model_copy(update={"inputs": ("tokenizer", prepared[name].id)})
            for of_sources in (scored, kept)
            for name, step in of_sources.items()
        ),
        Step(
            id="train",
            kind="train",
            inputs=(*data, *(step.id for step in (*scored.values(), *kept.values()))),
            source=None,
            devices=draft.hardware.count,
            seconds=costs.train,
        ),
    ]
    small = ("compress",) if "compress" in costs.steps else ()
    if small:
        found.append(
            Step(
                id="compress",
                kind="compress",
                inputs=("tokenizer", "train"),
                source=None,
                devices=1,
                seconds=costs.steps["compress"],
            )
        )
    found.append(
        Step(
            id="evaluate",
            kind="evaluate",
            inputs=(*data, "train", *small),
            source=None,
            devices=1,
            seconds=costs.steps["evaluate"],
        )
    )
    compared = ("compare",) if "compare" in costs.steps else ()
    if compared:
        found.append(
            Step(
                id="compare",
                kind="compare",
                inputs=(*data, "train", *small),
                source=None,
                devices=1,
                seconds=costs.steps["compare"],
            )
        )
    if draft.recipe.checkpoints.export:
        found.append(
            Step(
                id="export",
                kind="export",
                inputs=("tokenizer", "train", *small, "evaluate", *compared),
                source=None,
                devices=1,
                seconds=costs.steps["export"],
            )
        )
    why = "one step a kind of work; a prepare for each source, a score for each that has a curriculum"
    found = _without_text(found) if draft.is_classifier else found
    return draft.fill("steps", tuple(found), {"": Reason(why)})


def _without_text(found: Sequence[Step]) -> list[Step]:
    """The steps of a classifier: images have no tokenizer, and nothing waits for one."""
    return [
        step.model_copy(update={"inputs": tuple(name for name in step.inputs if name != "tokenizer")})
        for step in found
        if step.kind != "tokenizer"
    ]


def _of_sources(kind: StepKind, names: Iterable[str], draft: Draft, costs: Costs) -> dict[str, Step]:
    """A step of work on data for each of the sources; one whose name makes too long an id goes by its number."""
    order = list(draft.data.sources)
    found = {}
    for name in names:
        step_id = f"{kind}-{name}"
        found[name] = Step(
            id=step_id if len(step_id) <= _LONGEST_ID else f"{kind}-{order.index(name)}",
            kind=kind,
            inputs=("tokenizer",),
            source=name,
            devices=1,
            seconds=costs.steps[f"{kind} {name}"],
        )
    return found
