"""From scores of documents to scores of samples: means weighted by tokens, and the order that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runtime.data.document_table import open_table
from runtime.scoring.scores import Scores

__all__ = ["order_of", "sample_scores"]

_BLOCK_ROWS: Final = 1 << 16
_BLOCK_SAMPLES: Final = 1 << 18


def sample_scores(table: Path, scores: Scores, samples: int, sequence_length: int) -> NDArray[np.float32]:
    """Mean score of each sample's documents, weighted by the tokens that it has of each; (samples,).

    Documents without a score are left out of the mean; a sample of such documents alone has NaN.

    Args:
        table: documents of the train split, in packing order.
        scores: of these documents.
        samples: of the split.
        sequence_length: tokens of a sample.
    """
    rows = open_table(table)
    found = np.full(samples, np.nan, np.float32)
    # What the last sample of a block has so far: sum of scores by tokens, and the tokens.
    carried = np.zeros(2)
    start = 0
    for first in range(0, len(rows), _BLOCK_ROWS):
        block = rows[first : first + _BLOCK_ROWS]
        values = scores.look_up(np.ascontiguousarray(block["digest"])).astype(np.float64)
        ends = start + np.cumsum(block["tokens"])
        while start < ends[-1]:
            # A long document spans many samples, so samples bound the work, too.
            end = min(int(ends[-1]), (start // sequence_length + _BLOCK_SAMPLES) * sequence_length)
            sums, weights = _sums(start, end, ends, values, sequence_length)
            sums[0], weights[0] = sums[0] + carried[0], weights[0] + carried[1]
            with np.errstate(invalid="ignore", divide="ignore"):
                whole = (sums / weights).astype(np.float32)
            number = start // sequence_length
            found[number : number + len(whole)] = whole
            carried[:] = (sums[-1], weights[-1]) if end % sequence_length else 0.0
            start = end
    return found


def _sums(
    start: int, end: int, ends: NDArray[np.int64], values: NDArray[np.float64], length: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tokens [start, end) by sample: sum of their scores, and how many have one. `ends` are where documents end."""
    first = start // length
    cuts = np.concatenate(
        [[start], ends[(ends > start) & (ends < end)], np.arange((first + 1) * length, end, length), [end]]
    )
    cuts = np.unique(cuts)
    begins, tokens = cuts[:-1], np.diff(cuts).astype(np.float64)
    value = values[np.searchsorted(ends, begins, side="right")]
    defined = ~np.isnan(value)
    sample = (begins // length - first)[defined]
    count = (end - 1) // length - first + 1
    tokens = tokens[defined]
    return (
        np.bincount(sample, tokens * value[defined], minlength=count).astype(np.float64),
        np.bincount(sample, tokens, minlength=count).astype(np.float64),
    )


def order_of(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Sample numbers by ascending score; equal ones keep their order, those without a score are last."""
    order: NDArray[Any] = np.argsort(values, kind="stable")
    return order.astype(np.int64, copy=False)
