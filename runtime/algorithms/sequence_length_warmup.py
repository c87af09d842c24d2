"""Sequence-length warm-up: short sequences first (Li et al. 2021, arXiv 2108.06084).

Composer's own SeqLengthWarmup is not used: it runs an extra forward and backward pass, which moves the random state,
takes its length from batches instead of tokens, and accepts no model but Composer's Hugging Face wrapper.
"""

from __future__ import annotations

import torch
from composer.core import Algorithm, Event, State
from composer.loggers import Logger

from runtime.layout import Layout
from runtime.window import TokenWindow
from schemas.plan import RunPlan
from schemas.techniques.sequence_length_warmup import SequenceLengthWarmupAlgorithm

__all__ = ["ShorterSequences", "build", "length_at", "shorten"]


def length_at(spec: SequenceLengthWarmupAlgorithm, fraction: float) -> int:
    """Length after a share of the warm-up: a linear rise in whole steps; the full length at its end."""
    if fraction >= 1:
        return spec.end_length
    risen = (spec.end_length - spec.start_length) * fraction
    return min(spec.end_length, spec.start_length + int(risen / spec.step_size) * spec.step_size)


def shorten(tokens: torch.Tensor, length: int, *, truncate: bool) -> torch.Tensor:
    """Sequences of `length` from [batch, full] token ids: their beginnings, or all whole pieces of each sequence.

    Returns:
        [batch, length], or [batch * (full // length), length]; unchanged where they are no longer than `length`.
    """
    batch, full = tokens.shape
    if length >= full:
        return tokens
    pieces = 1 if truncate else full // length
    return tokens[:, : pieces * length].reshape(batch * pieces, length)


class ShorterSequences(Algorithm):  # type: ignore[misc]  # composer has no types
    """Shortens each batch while the window lasts. Holds nothing: the length is a function of the tokens drawn."""

    def __init__(self, spec: SequenceLengthWarmupAlgorithm) -> None:
        self._spec, self._window = spec, TokenWindow.of(spec.window)

    def match(self, event: Event, state: State) -> bool:
        """After a batch was loaded, inside the window."""
        return event is Event.AFTER_DATALOADER and self._window.active(state)

    def apply(self, event: Event, state: State, logger: Logger) -> None:
        """Shorten the sequences; Composer has counted the batch's tokens by now."""
        length = length_at(self._spec, self._window.progress(state))
        tokens = shorten(state.batch["input_ids"], length, truncate=self._spec.truncate)
        state.batch = {**state.batch, "input_ids": tokens}


def build(spec: SequenceLengthWarmupAlgorithm, plan: RunPlan, layout: Layout) -> ShorterSequences:
    """The algorithm of a plan."""
    return ShorterSequences(spec)
