"""Next tokens of held-out text, what a language model takes for them, and how often tokens occur in its training data."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from runtime.measures.heldout import read_samples
from runtime.models.forward import logits_of
from runtime.steps.base import Result
from schemas.plan import RunPlan

__all__ = ["heldout_batches", "likeliest", "token_counts"]

_COUNTED_TOKENS: Final = 4_000_000
"""Of each source: shares of a hundred-thousandth are then known to a sixth of themselves."""
_SPANS: Final = 8

Integers = npt.NDArray[np.int64]


def heldout_batches(result: Result, size: int, cache: Path) -> Iterator[Integers]:
    """Held-out samples of a source in order, (batch, length); the last batch may be smaller."""
    values = result.values
    samples = read_samples(values["heldout"], result.folder, values["column"], cache)
    while batch := list(itertools.islice(samples, size)):
        yield np.stack(batch)


@torch.no_grad()
def likeliest(
    model: nn.Module, batches: Iterable[Integers], device: torch.device, num_tokens: int
) -> tuple[Integers, Integers]:
    """The token that comes and the one that the model holds for the likeliest, at each position but the first of a sample.

    Args:
        model: a causal language model on `device`.
        batches: ids of shape (batch, length).
        device: where it computes.
        num_tokens: rows of a larger embedding beyond it stand for no token, and are not chosen.

    Returns:
        Two arrays of shape (samples * (length - 1),); of several equal logits the first counts.
    """
    model.train(mode=False)
    truth, found = [], []
    for batch in batches:
        tokens = torch.from_numpy(batch).to(device)
        logits = logits_of(model, {"input_ids": tokens})[:, :-1, :num_tokens]
        found.append(logits.float().argmax(dim=-1).flatten().cpu().numpy().astype(np.int32))
        truth.append(batch[:, 1:].reshape(-1))
    if not truth:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    return np.concatenate(truth).astype(np.int64), np.concatenate(found).astype(np.int64)


def token_counts(plan: RunPlan, prepared: Mapping[str, Result], cache: Path) -> dict[str, npt.NDArray[np.float64]]:
    """How often each token occurs in what the run draws of each source, (vocabulary,) by source.

    Up to four million tokens of a source's training samples are counted, in eight spans over the whole of it, and scaled to
    what the plan draws of it.

    Raises:
        DataError: a shard is missing or damaged (RC408).
    """
    found = {}
    for name, result in sorted(prepared.items()):
        counts = np.zeros(plan.decoder.vocab_size, dtype=np.int64)
        for share in _spans(result.values["train"], plan.data.sequence_length):
            for sample in read_samples(share, result.folder, result.values["column"], cache):
                counts += np.bincount(sample, minlength=len(counts))
        drawn = sum(phase.sources[name].tokens for phase in plan.data.phases if name in phase.sources)
        found[name] = counts * (drawn / max(1, int(counts.sum())))
    return found


def _spans(share: Mapping[str, Any], length: int) -> Iterator[Mapping[str, Any]]:
    """The split itself if it is small, else equal spans at equal distances."""
    samples, limit = int(share["samples"]), max(_SPANS, _COUNTED_TOKENS // length)
    if samples <= limit:
        yield share
        return
    for number in range(_SPANS):
        first = int(share["first_sample"]) + number * samples // _SPANS
        yield {**share, "first_sample": first, "samples": limit // _SPANS}
