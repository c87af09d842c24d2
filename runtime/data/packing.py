"""Tokens of documents, one after another, cut into samples of one length.

A packer keeps exact books: how many tokens and bytes of text its samples hold, and what fills none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Packer", "Tokens", "token_dtype"]

Tokens = NDArray[np.unsignedinteger[Any]]
"""Token ids, 1-d."""

_LARGEST_UINT16_VOCABULARY = 1 << 16


def token_dtype(vocab_size: int) -> str:
    """The smallest of Streaming's types that holds ids below `vocab_size`."""
    return "uint16" if vocab_size < _LARGEST_UINT16_VOCABULARY else "uint32"


class Packer:
    """Cuts tokens into samples; what is left over waits for more.

    Args:
        sequence_length: tokens of a sample.
        dtype: numpy type of the ids.
        count_bytes: bytes of text that ids stand for.
        max_samples: no more samples than this are made; None: no limit.

    Attributes:
        samples: made so far.
        documents: of which a token was taken.
        num_bytes: of the text that samples and waiting tokens stand for.
    """

    def __init__(
        self,
        sequence_length: int,
        dtype: str,
        count_bytes: Callable[[Sequence[int]], int],
        max_samples: int | None = None,
    ) -> None:
        self._sequence_length = sequence_length
        self._dtype = dtype
        self._count_bytes = count_bytes
        self._max_samples = max_samples
        self._waiting: list[Tokens] = []
        self._num_waiting = 0
        self.samples = 0
        self.documents = 0
        self.num_bytes = 0

    def is_full(self) -> bool:
        """Whether the limit of samples is reached."""
        return self._max_samples is not None and self.samples >= self._max_samples

    def add(self, ids: Sequence[int], num_bytes: int, *, starts_document: bool) -> Iterator[Tokens]:
        """Take tokens that stand for `num_bytes` of text; yield each sample they fill, (sequence_length,)."""
        if self.is_full():
            return
        self.documents += starts_document
        self.num_bytes += num_bytes
        self._waiting.append(np.asarray(ids, self._dtype))
        self._num_waiting += len(ids)
        filled = self._num_waiting // self._sequence_length
        if self._max_samples is not None:
            filled = min(filled, self._max_samples - self.samples)
        if not filled:
            return
        tokens = np.concatenate(self._waiting)
        cut = filled * self._sequence_length
        self._waiting, self._num_waiting = [tokens[cut:]], len(tokens) - cut
        self.samples += filled
        yield from tokens[:cut].reshape(filled, self._sequence_length)
        if self.is_full():
            self.drop_rest()

    def drop_rest(self) -> int:
        """Forget the tokens that fill no sample, and their bytes; returns how many tokens there were."""
        dropped = self._num_waiting
        for tokens in self._waiting:
            self.num_bytes -= self._count_bytes(tokens.tolist())
        self._waiting, self._num_waiting = [], 0
        return dropped
