"""From documents to samples: means by tokens against a mean token by token, and the order they make."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.data.document_table import DocumentTable
from runtime.scoring import samples
from runtime.scoring.samples import order_of, sample_scores
from runtime.scoring.scores import Scores
from runtime.scoring.store import digests_of

SCORE = st.one_of(st.just(math.nan), st.floats(-100, 100, width=32))


def digest(number: int) -> bytes:
    """A digest that ends in zero bytes, as one in 256 does."""
    return bytes([number]) + bytes(15)


def scored(folder: Path, documents: list[tuple[int, int]], values: dict[int, float], kept: int) -> tuple[Path, Scores]:
    """A table of (document, tokens), and the scores of its documents."""
    path = folder / "rows.npy"
    with DocumentTable(path) as table:
        for number, tokens in documents:
            table.add(digest(number), tokens)
        table.finish(kept)
    scores = Scores(path)
    scores.fill(digests_of([digest(number) for number in values]), np.array(list(values.values()), np.float32))
    return path, scores


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30)), min_size=1, max_size=30), st.data())
def test_means_token_by_token(
    tmp_path_factory: pytest.TempPathFactory, documents: list[tuple[int, int]], data: st.DataObject
) -> None:
    """A sample's score is the mean over its tokens' documents; those without a score are left out."""
    length = data.draw(st.integers(1, 12))
    count = sum(tokens for _, tokens in documents) // length
    if not count:
        return
    values = {number: data.draw(SCORE) for number in range(10)}
    path, scores = scored(tmp_path_factory.mktemp("samples"), documents, values, count * length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "_BLOCK_ROWS", data.draw(st.sampled_from([1, 2, 7, 1000])))
        patch.setattr(samples, "_BLOCK_SAMPLES", data.draw(st.sampled_from([1, 2, 1000])))
        found = sample_scores(path, scores, count, length)
    tokens = np.repeat([values[number] for number, _ in documents], [n for _, n in documents])[: count * length]
    for sample, row in zip(found, tokens.reshape(count, length), strict=True):
        defined = row[~np.isnan(row)]
        assert math.isnan(sample) == (len(defined) == 0)
        assert math.isnan(sample) or sample == pytest.approx(defined.mean(), rel=1e-5, abs=1e-5)


@given(st.lists(SCORE, max_size=40))
def test_order(values: list[float]) -> None:
    """Ascending, equal ones as they were, those without a score last."""
    found = order_of(np.array(values, np.float32))
    assert found.dtype == np.int64
    expected = sorted(
        range(len(values)), key=lambda i: (math.isnan(values[i]), 0 if math.isnan(values[i]) else values[i])
    )
    assert found.tolist() == expected


def test_each_document_is_claimed_once(tmp_path: Path) -> None:
    """Wanted, unknown, and not claimed before; held-out documents (which the table lacks) never are."""
    _, scores = scored(tmp_path, [(3, 5), (7, 5), (3, 5), (9, 5)], {7: 1.0}, 20)
    assert scores.num_missing() == 2

    def claim(*numbers: int) -> list[bool]:
        found: NDArray[np.bool_] = scores.claim(digests_of([digest(number) for number in numbers]))
        return list(found.tolist())

    assert claim(2, 3, 3, 7, 8, 200) == [False, True, False, False, False, False]
    assert claim(3, 9, 9) == [False, True, False]
    assert claim(3, 9, 7) == [False, False, False]


def test_summary_counts_each_document_once(tmp_path: Path) -> None:
    """A long document in three rows is one."""
    _, scores = scored(tmp_path, [(1, 5), (1, 5), (1, 5), (2, 5), (4, 5)], {1: 4.0, 2: 1.0, 4: math.nan}, 25)
    assert scores.summary() == (1.0, 2.5, 4.0, 1, 3)
