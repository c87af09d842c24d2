"""Packing: samples of one length, no token lost or doubled, and books that add up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.packing import Packer, Tokens, token_dtype
from runtime.data.splits import Splits
from schemas.plan import EvaluationPlan


def two_bytes_each(ids: Sequence[int]) -> int:
    """Bytes of ids where each stands for two."""
    return 2 * len(ids)


class Written:
    """Takes samples as a shard writer does."""

    def __init__(self) -> None:
        self.written: list[list[int]] = []
        self.rows = 0

    def write(self, sample: Tokens) -> None:
        """Keep a row."""
        self.written.append(sample.tolist())
        self.rows += 1


def splits(holdout: float, max_tokens: int = 1000) -> tuple[Splits, Written, Written]:
    """Splits of samples of 4 tokens into two lists."""
    evaluation = EvaluationPlan(
        holdout=holdout, interval_steps=1, max_tokens=max_tokens, prompts=(), max_new_tokens=1, retention=(), bias=None
    )
    train, heldout = Written(), Written()
    return Splits(evaluation, 4, "uint16", two_bytes_each, train=train, heldout=heldout), train, heldout


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 65535), max_size=30)), st.integers(1, 9))
def test_samples_are_the_tokens_in_order(documents: list[list[int]], length: int) -> None:
    """The samples, one after another, are all tokens but a tail shorter than a sample; bytes follow the tokens."""
    packer = Packer(length, "uint16", two_bytes_each)
    samples = [s.tolist() for ids in documents for s in packer.add(ids, 2 * len(ids), starts_document=True)]
    tokens = [token for ids in documents for token in ids]
    dropped = packer.drop_rest()
    assert [token for sample in samples for token in sample] == tokens[: len(tokens) - dropped]
    assert all(len(sample) == length for sample in samples)
    assert dropped == len(tokens) % length
    assert (packer.samples, packer.documents) == (len(samples), len(documents))
    assert packer.num_bytes == 2 * length * len(samples)


def test_a_limit_of_samples_is_exact() -> None:
    """Past its limit a packer takes nothing, and counts no byte of what it did not take."""
    packer = Packer(4, "uint16", two_bytes_each, max_samples=2)
    samples = [
        s for ids in (range(6), range(100), range(5)) for s in packer.add(ids, 2 * len(ids), starts_document=True)
    ]
    assert len(samples) == 2
    assert packer.is_full()
    assert (packer.num_bytes, packer.documents) == (2 * 8, 2)


@pytest.mark.parametrize(
    ("vocab_size", "dtype"), [(512, "uint16"), (65_535, "uint16"), (65_536, "uint32"), (200_000, "uint32")]
)
def test_ids_are_stored_small(vocab_size: int, dtype: str) -> None:
    """Two bytes an id where the vocabulary allows."""
    assert token_dtype(vocab_size) == dtype
    assert vocab_size - 1 <= np.iinfo(dtype).max


def test_documents_go_to_their_split() -> None:
    """Held-out documents are apart from the others; what is over the limit is counted and in neither."""
    both, train, heldout = splits(0.5, max_tokens=8)
    for i in range(6):
        both.add([i] * 5, 10, is_heldout=i % 2 == 1, starts_document=True)
    books = both.finish()
    assert train.written == [[0, 0, 0, 0], [0, 2, 2, 2], [2, 2, 4, 4]]
    assert heldout.written == [[1, 1, 1, 1], [1, 3, 3, 3]]
    assert books["dropped_tail_tokens"] == 3
    assert books["unused_heldout"] == {"documents": 1, "bytes": 10}
    assert books["heldout"] == {
        "remote": None, "local": "heldout", "first_sample": 0, "samples": 2, "tokens": 8, "documents": 2, "bytes": 16,
    }  # fmt: skip
    assert (books["train"]["samples"], books["train"]["bytes"]) == (3, 24)


@pytest.mark.parametrize(
    ("num_tokens", "holdout", "expected"),
    [
        (3, 0.25, (0, 0)),
        (4, 0.25, (1, 0)),
        (8, 0.25, (1, 1)),
        (80, 0.25, (15, 5)),
        (80, 0.0, (20, 0)),
        (800, 0.01, (198, 2)),
    ],
)
def test_one_document_gives_its_end_to_the_heldout_split(
    num_tokens: int, holdout: float, expected: tuple[int, int]
) -> None:
    """Where no document is held out, the last samples are, if training keeps one; no token is in both."""
    both, train, heldout = splits(holdout)
    both.add(range(num_tokens), 2 * num_tokens, is_heldout=False, starts_document=True)
    books = both.finish()
    assert (train.rows, heldout.rows) == expected
    assert [token for row in train.written + heldout.written for token in row] == list(range(num_tokens // 4 * 4))
    assert books["train"]["bytes"] == 2 * 4 * train.rows
    assert books["heldout"]["bytes"] == 2 * 4 * heldout.rows
    assert books["heldout"]["local"] == ("heldout" if heldout.rows else None)
