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
    on_data = _on_data(draft, costs)
    train = Step(
        id="train",
        kind="train",
        inputs=("tokenizer", *(step.id for step in on_data)),
        source=None,
        devices=draft.hardware.count,
        seconds=costs.train,
    )
    found = [_step("tokenizer", (), costs), *on_data, train, *_on_models(draft, costs, on_data)]
    why = "one step a kind of work; a prepare for each source, a score for each that has a curriculum"
    return draft.fill("steps", tuple(_without_text(found) if draft.is_classifier else found), {"": Reason(why)})


def _step(kind: StepKind, inputs: tuple[str, ...], costs: Costs) -> Step:
    """A step of one process, of which a run has one."""
    return Step(id=kind, kind=kind, inputs=inputs, source=None, devices=1, seconds=costs.steps.get(kind, 0.0))


def _on_data(draft: Draft, costs: Costs) -> list[Step]:
    """Steps before the training: each source prepared, those with a curriculum scored, those of a cache read by teachers."""
    prepared = _of_sources("prepare", draft.data.sources, draft, costs)
    scored = _of_sources("score", draft.data.curricula, draft, costs)
    taught = [name for name in draft.data.sources if f"logits {name}" in costs.steps]
    kept = _of_sources("logits", taught, draft, costs)
    return [
        *prepared.values(),
        *(
            step.model_copy(update={"inputs": ("tokenizer", prepared[name].id)})
            for of_sources in (scored, kept)
            for name, step in of_sources.items()
        ),
    ]


def _on_models(draft: Draft, costs: Costs, on_data: Sequence[Step]) -> list[Step]:
    """Steps after the training: made small where a technique does that, measured, compared where asked, exported."""
    prepared = (step.id for step in on_data if step.kind == "prepare")
    small = ("compress",) if "compress" in costs.steps else ()
    compared = ("compare",) if "compare" in costs.steps else ()
    measured = ("tokenizer", *prepared, "train", *small)
    found = [_step("compress", ("tokenizer", "train"), costs)] if small else []
    found.append(_step("evaluate", measured, costs))
    if compared:
        found.append(_step("compare", measured, costs))
    if draft.recipe.checkpoints.export:
        found.append(_step("export", ("tokenizer", "train", *small, "evaluate", *compared), costs))
    return found


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
