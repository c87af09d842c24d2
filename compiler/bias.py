"""What `evaluation.bias` means for a run: which model is the reference, over which classes, and what can't be compared."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from compiler.draft import Draft
from compiler.frontend.suggest import closest
from compiler.lineage.references import unlike_reference
from compiler.lineage.teachers import same_words
from compiler.provenance import Because, From, Reason
from schemas.diagnostics import Diagnostic
from schemas.evaluation import Bias, BiasClasses, BiasPlan
from schemas.plan import RunPlan

__all__ = ["bias_plan"]

_PLACE: Final = ("evaluation", "bias")
_NAMED: Final = ("start", "uncompressed", "previous")


class _Reference(NamedTuple):
    """Which model, and why."""

    kind: Literal["start", "uncompressed", "run", "folder"]
    run: RunPlan | None
    folder: str | None
    why: str


def bias_plan(draft: Draft) -> tuple[Draft, BiasPlan | None, dict[str, Because]]:
    """The section `evaluation.bias` with its provenance, or None where the recipe has none, or errors keep it from being made.

    In the first run of a sequence `previous` is nothing, so that a base recipe can compare each later run with the one before.
    """
    said = draft.recipe.evaluation.bias
    if said is None or (said.against == "previous" and draft.run is not None and not draft.earlier):
        return draft, None, {}
    reference, finding = _reference(draft, said)
    draft, replicates = _replicates(draft, said)
    draft, classes = _classes(draft, said)
    draft = draft.find(*_unread(draft, said, classes))
    if reference is None:
        return draft.find(*([finding] if finding else [])), None, {}
    if reference.run is not None:
        draft = draft.find(*_comparable(draft, reference.run, "against"))
    is_repaired = draft.recipe.model.start is not None and draft.beginning is None
    if reference.folder is not None and draft.is_classifier and not is_repaired:
        draft = draft.find(*unlike_reference(draft, reference.folder))
    run = reference.run
    section = BiasPlan(
        against=reference.kind,
        run=None if run is None else run.run,
        folder=reference.folder,
        replicates={str(run.run): run.fingerprint for run in replicates},
        fingerprint=None if run is None else run.fingerprint,
        classes=classes,
        buckets=said.buckets,
        convention=said.convention,
        zero_rate=said.zero_rate,
        epsilon=said.epsilon,
        max_cev=said.max_cev,
        max_sde=said.max_sde,
    )
    why: Because = From("evaluation.bias.against") if said.against else Reason(reference.why)
    return (
        draft,
        section,
        {
            **{f"bias.{key}": why for key in ("against", "run", "folder", "fingerprint")},
            "bias.classes": From("evaluation.bias.classes")
            if said.classes != "auto"
            else Reason("a classifier's labels, or tokens of a language model by how often they occur"),
            "bias.replicates": From("evaluation.bias.replicates"),
        },
    )


def _reference(draft: Draft, said: Bias) -> tuple[_Reference | None, Diagnostic | None]:
    """The reference that the recipe names, or the one nearest at hand; a finding where there is none."""
    started, smaller = draft.recipe.model.start is not None, any(fragment.ships_smaller for fragment in draft.fragments)
    previous = draft.run_named("previous")
    usual = "start" if started else "previous" if previous is not None else "uncompressed"
    named = said.against or usual
    why = f"{'the run has a start' if started else 'the run before' if previous else 'neither a start nor an earlier run'}"
    if named == "start" and started:
        return _Reference("start", None, None, why), None
    if named == "uncompressed" and smaller:
        return _Reference("uncompressed", None, None, why), None
    run = draft.run_named(named)
    if run is not None:
        return _Reference("run", run, None, why), None
    if "/" in named:
        return _Reference("folder", None, named, why), None
    return None, _unknown(draft, said, named)


def _unknown(draft: Draft, said: Bias, named: str) -> Diagnostic:
    """Why a reference isn't there, and the line to write."""
    known = [str(run.run) for run in draft.earlier]
    later = named in draft.order
    guess = None if later or named in _NAMED else closest(named, [*known, *_NAMED])
    offered = guess or ("previous" if known else "start" if draft.recipe.model.start else "runs/base/export")
    what = {
        "start": "this run begins with random weights, so there is no start to compare it with",
        "uncompressed": "no technique of this run makes the finished model smaller, so there is nothing to compare it with",
        "previous": "there is no run before this one to compare it with",
    }.get(
        named, f"the run `{named}` comes no earlier" if later else f"there is no earlier run `{named}` to compare with"
    )
    return draft.diagnostic(
        "RC203",
        what if said.against else f"the comparison needs a reference: {what}",
        *_PLACE,
        *(("against",) if said.against else ()),
        help=f"against: {offered}" if said.against else f"bias: {{against: {offered}}}",
        reason=(f"earlier runs: {', '.join(known)}; " if known else "") + "a folder is written with a `/`",
        label=f"did you mean `{guess}`?" if guess else "",
    )


def _replicates(draft: Draft, said: Bias) -> tuple[Draft, tuple[RunPlan, ...]]:
    """Earlier runs that are replicates of this one."""
    found = []
    for number, name in enumerate(said.replicates):
        run = draft.run_named(name)
        if run is None:
            known = [str(run.run) for run in draft.earlier]
            guess = closest(name, known)
            draft = draft.find(
                draft.diagnostic(
                    "RC203",
                    f"there is no earlier run `{name}` to be a replicate of this one",
                    *_PLACE,
                    "replicates",
                    number,
                    help=f"replicates: [{guess or (known[-1] if known else '')}]" if known else "replicates: []",
                    reason=f"earlier runs: {', '.join(known) or 'none'}",
                )
            )
            continue
        draft = draft.find(*_comparable(draft, run, "replicates", number))
        found.append(run)
    return draft, tuple(found)


def _unread(draft: Draft, said: Bias, classes: BiasClasses) -> tuple[Diagnostic, ...]:
    """Findings about knobs that another choice leaves without a reader."""
    unread = {
        "epsilon": (
            said.zero_rate != "epsilon",
            f"`zero_rate: {said.zero_rate}` divides by no epsilon",
            "zero_rate: epsilon",
        ),
        "buckets": (classes != "token_frequency", f"`classes: {classes}` has no buckets", "classes: token_frequency"),
    }
    return tuple(
        draft.diagnostic(
            "RC203",
            f"{why}, so nothing reads `{key}`",
            *_PLACE,
            key,
            help=f"delete `{key}`" + (f", or write `{line}`" if key != "buckets" or not draft.is_classifier else ""),
        )
        for key, (idle, why, line) in unread.items()
        if idle and key in said.model_fields_set
    )


def _comparable(draft: Draft, run: RunPlan, *place: str | int) -> tuple[Diagnostic, ...]:
    """A finding where an earlier run predicts something else than this one."""
    if run.objective.kind == draft.recipe.objective.kind:
        if draft.is_classifier or run.tokenizer is None or same_words(run, run.tokenizer, draft):
            return ()
        return (
            draft.diagnostic(
                "RC203",
                f"the run `{run.run}` has another tokenizer: token ids would mean other words",
                *_PLACE,
                *place,
                help="give both runs one tokenizer: `tokenizer: {kind: pretrained, path: ...}`",
            ),
        )
    return (
        draft.diagnostic(
            "RC203",
            f"the run `{run.run}` learns {run.objective.kind}, this one {draft.recipe.objective.kind}: their predictions can't"
            " be compared",
            *_PLACE,
            *place,
        ),
    )


def _classes(draft: Draft, said: Bias) -> tuple[Draft, BiasClasses]:
    """Classes that the objective has."""
    labels = draft.recipe.objective.kind == "classification"
    usual: BiasClasses = "labels" if labels else "token_frequency"
    if said.classes == "auto" or (said.classes == "labels") == labels:
        classes: BiasClasses = usual if said.classes == "auto" else said.classes
        if classes == "sources" and len(draft.recipe.data.sources) < 2:
            finding = draft.diagnostic(
                "RC203",
                "one source alone makes one class, and a comparison of classes needs two",
                *_PLACE,
                "classes",
                help=f"classes: {usual}",
            )
            return draft.find(finding), usual
        return draft, classes
    finding = draft.diagnostic(
        "RC203",
        f"{draft.recipe.objective.kind} has no classes of the kind `{said.classes}`",
        *_PLACE,
        "classes",
        help=f"classes: {usual}",
        reason="a classifier has labels; tokens of a language model are parted by frequency or by source",
    )
    return draft.find(finding), usual
