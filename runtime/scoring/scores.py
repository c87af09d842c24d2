"""Scores of one source's documents in memory: which are wanted, which are known. 21 bytes a document."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.data.document_table import open_table
from runtime.scoring.store import Digests, ScoreStore

__all__ = ["Scores", "Summary"]

_BLOCK_ROWS: Final = 1 << 18


class Summary(NamedTuple):
    """Scores of a source's documents; `undefined` of them have none."""

    minimum: float
    mean: float
    maximum: float
    undefined: int
    documents: int


class Scores:
    """A sorted array of digests, and a score for each; held-out documents are not among them.

    Args:
        table: the documents of the train split (`runtime.data.document_table`).
    """

    def __init__(self, table: Path) -> None:
        rows = open_table(table)
        self._wanted: Digests = np.empty(len(rows), "S16")
        for start in range(0, len(rows), _BLOCK_ROWS):
            self._wanted[start : start + _BLOCK_ROWS] = rows["digest"][start : start + _BLOCK_ROWS]
        self._wanted.sort()
        self._values = np.full(len(rows), np.nan, np.float32)
        self._known = np.zeros(len(rows), bool)

    def load(self, store: ScoreStore) -> None:
        """Take over what is stored of the documents that are wanted; the store itself may be any size."""
        for digests, values in store.read():
            for start in range(0, len(digests), _BLOCK_ROWS):
                self.fill(digests[start : start + _BLOCK_ROWS], values[start : start + _BLOCK_ROWS])

    def fill(self, digests: Digests, values: NDArray[np.float32]) -> None:
        """Note scores; documents that aren't wanted are passed over."""
        places, found = self._find(digests)
        self._values[places[found]] = values[found]
        self._known[places[found]] = True

    def claim(self, digests: Digests) -> NDArray[np.bool_]:
        """Which of the documents are wanted and not known yet, each once; from now on they count as known."""
        places, found = self._find(digests)
        rows = np.flatnonzero(found & ~self._known[places])
        rows = rows[np.unique(places[rows], return_index=True)[1]]
        self._known[places[rows]] = True
        claimed = np.zeros(len(digests), bool)
        claimed[rows] = True
        return claimed

    def look_up(self, digests: Digests) -> NDArray[np.float32]:
        """Scores of documents that are wanted, NaN where there is none."""
        places, found = self._find(digests)
        return np.where(found, self._values[places], np.float32(np.nan)).astype(np.float32)

    def num_missing(self) -> int:
        """Documents that are wanted and have not been scored."""
        first = self._firsts()
        return int((first & ~self._known).sum())

    def summary(self) -> Summary:
        """Smallest, mean and largest score, over the documents that have one, each counted once."""
        values = self._values[self._firsts()]
        defined = values[~np.isnan(values)]
        if not len(defined):
            return Summary(math.nan, math.nan, math.nan, len(values), len(values))
        return Summary(
            minimum=float(defined.min()),
            mean=float(defined.mean(dtype=np.float64)),
            maximum=float(defined.max()),
            undefined=len(values) - len(defined),
            documents=len(values),
        )

    def _firsts(self) -> NDArray[np.bool_]:
        """Of digests that stand in several rows (long documents, copies), the one that has the score."""
        first = np.ones(len(self._wanted), bool)
        first[1:] = self._wanted[1:] != self._wanted[:-1]
        return first

    def _find(self, digests: Digests) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Place of each digest, and whether it is there at all."""
        places = np.minimum(np.searchsorted(self._wanted, digests), len(self._wanted) - 1)
        return places, self._wanted[places] == digests
