"""Which steps on data an earlier run of the sequence has done alike: the runtime keeps their results and does them once."""

from __future__ import annotations

from compiler.draft import Draft
from schemas.plan import RunPlan

__all__ = ["made_before"]


def made_before(draft: Draft) -> frozenset[str]:
    """`tokenizer`, and `prepare` and `score` of sources, whose results an earlier run leaves behind.

    The same conditions as the keys of the runtime's steps (`identity` in runtime/steps): equal tokenizer, source, length of
    samples, selection and held-out share. A file that changes between two runs is beyond a plan.
    """
    return frozenset(name for run in draft.earlier for name in _shared(draft, run))


def _shared(draft: Draft, run: RunPlan) -> set[str]:
    """Of one earlier run."""
    if not _same_tokenizer(draft, run):
        return set()
    found = set() if draft.is_classifier else {"tokenizer"}
    if _form(draft) != _form(run):
        return found
    alike = {name for name, source in draft.data.sources.items() if run.data.sources.get(name) == source}
    found |= {f"prepare {name}" for name in alike}
    curricula = run.data.curricula
    found |= {
        f"score {name}"
        for name, one in draft.data.curricula.items()
        if name in alike and name in curricula and curricula[name].metric == one.metric
    }
    return found


def _form(made: Draft | RunPlan) -> tuple[object, ...]:
    """What samples depend on besides their source and tokenizer."""
    evaluation = made.evaluation if isinstance(made, RunPlan) else made.sections["evaluation"]
    data = made.data
    return data.sequence_length, data.selection, data.image, evaluation.holdout, evaluation.max_tokens


def _same_tokenizer(draft: Draft, run: RunPlan) -> bool:
    """Whether both read alike: one that is trained, on the same sources or by going back to the same run."""
    if draft.is_classifier or run.is_classifier:
        return draft.is_classifier and run.is_classifier
    ours, theirs = draft.tokenizer, run.tokenizer
    if ours != theirs:
        return False
    trained_alike = (
        draft.data.sources == run.data.sources
        and draft.data.selection == run.data.selection
        and draft.sections["evaluation"].holdout == run.evaluation.holdout
    )
    return ours.kind == "pretrained" or trained_alike or _goes_back_to(draft, run)


def _goes_back_to(draft: Draft, run: RunPlan) -> bool:
    """Whether a run's weights, and with them its tokenizer, are what this one began with, at once or through others."""
    before = draft.beginning.run if draft.beginning is not None else None
    while before is not None and before.run != run.run:
        start = before.start
        before = draft.run_named(start.run) if start is not None and start.run is not None else None
    return before is not None
