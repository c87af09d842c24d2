"""The two splits of a source: what is trained on, and what is held out to measure by."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from runtime.data.packing import Packer, Tokens
from schemas.plan import EvaluationPlan

__all__ = ["Splits"]

# A source of a few large documents holds back this many samples at most: they wait in memory.
_MOST_HELD_BACK = 1024


class SampleSink(Protocol):
    """Where samples go (`runtime.data.shards.SampleWriter`)."""

    rows: int

    def write(self, sample: Tokens) -> None: ...


class Splits:
    """Sends tokens of documents to the split that they belong to, and keeps the books of both.

    Where no document was held out (a source of one file, say), the last samples of training are held out instead:
    the share wanted of them, so far as they were still in memory.

    Args:
        evaluation: the share held out, and the most tokens that are read of it; more is neither trained on nor kept.
        sequence_length: tokens of a sample.
        dtype: numpy type of the ids.
        count_bytes: bytes of text that ids stand for.
        train: takes the samples to train on.
        heldout: takes the others.
    """

    def __init__(
        self,
        evaluation: EvaluationPlan,
        sequence_length: int,
        dtype: str,
        count_bytes: Callable[[Sequence[int]], int],
        *,
        train: SampleSink,
        heldout: SampleSink,
    ) -> None:
        self._share = evaluation.holdout
        self._most_heldout = max(1, evaluation.max_tokens // sequence_length)
        self._length = sequence_length
        self._count_bytes = count_bytes
        self._train, self._heldout = train, heldout
        self._train_packer = Packer(sequence_length, dtype, count_bytes)
        self._heldout_packer = Packer(sequence_length, dtype, count_bytes, self._most_heldout)
        self._back: deque[Tokens] = deque()
        self._unused = {"documents": 0, "bytes": 0}

    def add(self, ids: Sequence[int], num_bytes: int, *, is_heldout: bool, starts_document: bool) -> None:
        """Take the tokens of a document, or of a part of it, that stand for `num_bytes` of text."""
        if not is_heldout:
            for sample in self._train_packer.add(ids, num_bytes, starts_document=starts_document):
                self._back.append(sample)
                self._release(self._num_back())
            return
        if self._heldout_packer.is_full():
            self._unused["documents"] += starts_document
            self._unused["bytes"] += num_bytes
            return
        for sample in self._heldout_packer.add(ids, num_bytes, starts_document=starts_document):
            self._heldout.write(sample)

    def finish(self) -> dict[str, Any]:
        """Write what was held back; returns the books: both splits, tokens that filled no sample, unused documents."""
        dropped = self._train_packer.drop_rest() + self._heldout_packer.drop_rest()
        train_bytes, heldout_bytes, heldout_documents = (
            self._train_packer.num_bytes,
            self._heldout_packer.num_bytes,
            self._heldout_packer.documents,
        )
        if self._share and not self._heldout.rows:
            # A single sample is for training.
            self._release(len(self._back) if self._train.rows else 0)
            heldout_bytes, heldout_documents = sum(self._count_bytes(sample.tolist()) for sample in self._back), 0
            train_bytes -= heldout_bytes
            for sample in self._back:
                self._heldout.write(sample)
        else:
            self._release(0)
        return {
            "dropped_tail_tokens": dropped,
            "unused_heldout": dict(self._unused),
            "train": self._entry("train", self._train.rows, self._train_packer.documents, train_bytes),
            "heldout": self._entry("heldout", self._heldout.rows, heldout_documents, heldout_bytes),
        }

    def _num_back(self) -> int:
        """How many samples wait, in case that no document is held out."""
        if not self._share or self._heldout.rows:
            return 0
        wanted = max(1, int(self._share * self._train_packer.samples))
        return min(wanted, self._most_heldout, _MOST_HELD_BACK)

    def _release(self, kept: int) -> None:
        """Write waiting samples for training, the first ones first, until `kept` are left."""
        while len(self._back) > kept:
            self._train.write(self._back.popleft())

    def _entry(self, folder: str, samples: int, documents: int, num_bytes: int) -> dict[str, Any]:
        """What a result says of a split; a split without a sample has no folder."""
        return {
            "remote": None,
            "local": folder if samples else None,
            "first_sample": 0,
            "samples": samples,
            "tokens": samples * self._length,
            "documents": documents,
            "bytes": num_bytes,
        }
