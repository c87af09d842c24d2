"""Invariants of the draft, checked after the pass that could break them. A failure is our fault, never the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from compiler.draft import Draft

__all__ = ["verify"]


def _batch(draft: Draft) -> list[str]:
    b, devices = draft.batch, draft.hardware.count
    return [
        problem
        for holds, problem in [
            (b.samples % devices == 0, f"{b.samples} samples don't divide over {devices} devices"),
            (b.tokens == b.samples * draft.sample_tokens, "a batch is not whole sequences"),
            (b.steps >= 1, "the run has no step"),
        ]
        if not holds
    ]


def _model(draft: Draft) -> list[str]:
    if draft.is_classifier:
        return [] if draft.resnet.num_parameters > 0 else ["the network has no weights"]
    m = draft.decoder
    return [] if m.vocab_size >= draft.tokenizer.vocab_size and m.num_parameters > 0 else ["the embedding is too small"]


def _training(draft: Draft) -> list[str]:
    t, devices = draft.training, draft.hardware.count
    per_device = t.global_batch_samples // devices
    return [] if per_device % t.microbatch == 0 else [f"micro-batch {t.microbatch} doesn't divide {per_device}"]


def _data(draft: Draft) -> list[str]:
    phases = draft.data.phases
    drawn = sum(share.tokens for phase in phases for share in phase.sources.values())
    edges = [0, *(phase.end_token for phase in phases)]
    problems = [] if drawn == draft.budget.tokens else [f"phases draw {drawn} tokens of {draft.budget.tokens}"]
    if any(p.start_token != edge for p, edge in zip(phases, edges, strict=False)):
        problems.append("phases leave a gap")
    return problems


def _algorithms(draft: Draft) -> list[str]:
    return [
        f"{algorithm.kind} has a window that ends before it starts"
        for algorithm in draft.sections["algorithms"]
        if algorithm.window.end_token < algorithm.window.start_token
    ]


_RULES: Final[Mapping[str, Callable[[Draft], list[str]]]] = MappingProxyType(
    {"batch": _batch, "model": _model, "training": _training, "data": _data, "techniques": _algorithms}
)


def verify(draft: Draft, after: str) -> None:
    """Check what the pass named `after` filled; a draft with errors of the recipe is not held to it.

    Raises:
        RuntimeError: an invariant is broken; names the pass.
    """
    if draft.findings:
        return
    problems = _RULES[after](draft) if after in _RULES else []
    if problems:
        raise RuntimeError(f"after pass {after}: {'; '.join(problems)}")
