"""What each run of a sequence did to the model: cost, size, held-out loss and bias, read from the runs' own folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from runtime.files import read_json
from runtime.layout import Layout
from runtime.lineage import plans
from runtime.record import Record, read_record
from schemas.base import Frozen
from schemas.counted import Counts
from schemas.plan import RunPlan, StepKind

__all__ = [
    "FORMAT_VERSION",
    "BeforeAfter",
    "BiasStage",
    "Form",
    "HeldOut",
    "SequenceReport",
    "Stage",
    "build_stages",
    "is_worth_telling",
]

Form = Literal["start", "trained", "shipped"]
"""A model before its first step, after its last one, and as it is exported."""

FORMAT_VERSION: Final = "1.1"
"""A minor adds, a reader refuses another major."""

_BYTES: Final = {"fp32": 4, "bf16": 2, "fp16": 2}


class BeforeAfter(Frozen):
    """A quantity of the trained model, and of the form in which it is shipped; None for what was not measured."""

    before: float | None
    after: float | None


class HeldOut(Frozen):
    """Held-out text or images of one source: loss in nats, and accuracy of a classifier. None where it wasn't measured."""

    samples: int
    """Tokens, or images: what the mean over sources is weighted by."""
    loss: dict[Form, float]
    accuracy: dict[Form, float]


class BiasStage(Frozen):
    """What compression did to single classes, against a reference; see runtime/bias."""

    against: str
    cev: float | None
    sde: float | None
    pie: int | None
    convention: str
    reference_accuracy: float | None
    accuracy: float | None


class Stage(Frozen):
    """One run of the sequence."""

    run: str
    fingerprint: str
    folder: str
    """Name of the run's folder, beside those of the other runs."""
    status: str
    starts_from: str | None
    teachers: tuple[str, ...]
    techniques: tuple[str, ...]
    steps: int | None
    tokens: int | None
    seconds: float | None
    """In which devices were held: training with its starts, measuring, exporting."""
    usd: float | None
    training_tokens_per_s: float | None
    parameters: BeforeAfter
    nonzero: BeforeAfter
    """Weights that aren't zero, in the unit of `parameters`."""
    bytes: BeforeAfter
    """Of the weights in the format of the export."""
    tokens_per_s: BeforeAfter
    """Of the finished model at inference, on the machine that compressed it."""
    adapter_bytes: int | None
    """Of the adapter beside the merged model, where one was trained."""
    sources: dict[str, HeldOut]
    forgotten_nats: float | None
    """Mean loss after less before, on the sources that the recipe names for it; None for a run from random weights."""
    bias: BiasStage | None

    def mean(self, form: Form, what: Literal["loss", "accuracy"] = "loss") -> float | None:
        """Mean over the sources that have it, each weighted by its held-out samples."""
        pairs = [(held.samples, getattr(held, what).get(form)) for held in self.sources.values()]
        known = [(weight, value) for weight, value in pairs if value is not None]
        total = sum(weight for weight, _ in known)
        return sum(weight * value for weight, value in known) / total if total else None


class SequenceReport(Frozen):
    """The whole of sequence_report.json."""

    format_version: str = FORMAT_VERSION
    name: str
    fingerprint: str
    counts: Counts = "tokens"
    """What is meant where a name says `tokens`."""
    stages: tuple[Stage, ...]
    tokens: int
    seconds: float
    usd: float


def build_stages(plan: RunPlan, layout: Layout) -> SequenceReport:
    """The stages of a plan, as far as its runs have come.

    Args:
        plan: the last run, with those before it.
        layout: its folders.
    """
    found = []
    for run in plans(plan):
        place = Layout.of(run, roots=layout.roots, runs=layout.runs)
        found.append(_stage(run, place))
    return SequenceReport(
        name=plan.name,
        fingerprint=plan.fingerprint,
        counts=plan.counted.many,
        stages=tuple(found),
        tokens=sum(stage.tokens or 0 for stage in found),
        seconds=sum(stage.seconds or 0.0 for stage in found),
        usd=sum(stage.usd or 0.0 for stage in found),
    )


def is_worth_telling(report: SequenceReport) -> bool:
    """Whether there is more to say than a run's own report does: several runs, a model made smaller, or its bias."""
    stages = report.stages
    if not stages or stages[-1].status != "finished":
        return False
    return len(stages) > 1 or any(stage.bias is not None or stage.bytes.after is not None for stage in stages)


def _stage(plan: RunPlan, layout: Layout) -> Stage:
    records = dict(_records(plan, layout))
    train, small = _values(records, "train"), _values(records, "compress")
    evaluated, compared = _values(records, "evaluate"), _values(records, "compare")
    told = read_json(layout.report)
    spend: Mapping[str, Any] = told.get("spend", {}) if isinstance(told, dict) else {}
    hours = spend.get("device_hours", {}).get("actual")
    world = max(int(train.get("world_size", 1)), 1)
    return Stage(
        run=plan.run or plan.name,
        fingerprint=plan.fingerprint,
        folder=layout.run.name,
        status=str(train.get("status", "waiting")),
        starts_from=_start(plan),
        teachers=tuple(dict.fromkeys(_teachers(plan))),
        techniques=tuple(spec.kind for spec in plan.algorithms),
        steps=train.get("steps"),
        tokens=train.get("tokens"),
        seconds=train.get("seconds") if hours is None else hours * 3600 / world,
        usd=spend.get("usd", {}).get("actual"),
        training_tokens_per_s=train.get("tokens_per_s"),
        parameters=_pair(small, "parameters", plan.model.num_parameters),
        nonzero=_pair(small, "nonzero"),
        bytes=_pair(small, "bytes", plan.model.num_parameters * _BYTES[plan.checkpoints.export_dtype]),
        tokens_per_s=_pair(small, "tokens_per_s"),
        adapter_bytes=_adapter_bytes(layout),
        forgotten_nats=None if plan.start is None else (evaluated.get("retention") or {}).get("mean_nats"),
        sources={name: _heldout(values) for name, values in evaluated.get("sources", {}).items()},
        bias=_bias(compared) if "cev" in compared else None,
    )


def _records(plan: RunPlan, layout: Layout) -> Iterator[tuple[StepKind, Record]]:
    """Finished steps of the run itself, by kind."""
    for step in plan.steps:
        record = read_record(layout.step_result(step.id))
        if record is not None:
            yield step.kind, record


def _values(records: Mapping[StepKind, Record], kind: StepKind) -> Mapping[str, Any]:
    return records[kind].values if kind in records else {}


def _adapter_bytes(layout: Layout) -> int | None:
    weights = layout.export / "adapter" / "adapter_model.safetensors"
    return weights.stat().st_size if weights.is_file() else None


def _start(plan: RunPlan) -> str | None:
    start = plan.start
    return None if start is None else start.run or start.folder or start.hub


def _teachers(plan: RunPlan) -> Iterator[str]:
    """Names of the plan's teachers, as the recipe says them."""
    for spec in plan.algorithms:
        if spec.kind == "distillation":
            yield from (teacher.name for teacher in spec.teachers)


def _pair(values: Mapping[str, Any], name: str, otherwise: float | None = None) -> BeforeAfter:
    found = values.get(name) or {}
    return BeforeAfter(before=found.get("before", otherwise), after=found.get("after"))


def _heldout(values: Mapping[str, Any]) -> HeldOut:
    forms: dict[Form, Any] = {
        "start": values.get("untrained"),
        "trained": values.get("trained"),
        "shipped": values.get("shipped"),
    }
    return HeldOut(
        samples=int(values.get("tokens") or values.get("samples") or 0),
        loss={form: found["loss"] for form, found in forms.items() if found and found.get("loss") is not None},
        accuracy={
            form: found["accuracy"] for form, found in forms.items() if found and found.get("accuracy") is not None
        },
    )


def _bias(values: Mapping[str, Any]) -> BiasStage:
    right = values.get("accuracy") or {}
    return BiasStage(
        against=str(values.get("against", "")),
        cev=values.get("cev"),
        sde=values.get("sde"),
        pie=values.get("pie"),
        convention=str(values.get("convention", "paper")),
        reference_accuracy=right.get("reference"),
        accuracy=right.get("model"),
    )
