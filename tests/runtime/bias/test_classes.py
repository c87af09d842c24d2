"""Classes of a language model: parts of its vocabulary."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.bias.classes import frequency_buckets, typical_sources


def test_buckets_have_about_equally_many_occurrences() -> None:
    """A thousand tokens by Zipf's law in ten classes: each class holds a tenth of the text, but for whole tokens."""
    counts = 1e6 / np.arange(1, 1001)
    found = frequency_buckets(counts, 10)
    mass = np.bincount(found.of_token, weights=counts, minlength=10) / counts.sum()
    assert len(found.names) == 10
    assert mass.min() > 0.08
    assert mass.max() < 0.14
    # From frequent to rare: no token of a later class occurs more often.
    assert (np.diff(found.of_token[np.argsort(-counts, kind="stable")]) >= 0).all()


def test_a_token_larger_than_a_bucket_is_a_class_of_its_own() -> None:
    """Half of the text is one token: the other nine classes part what remains, and none is empty."""
    counts = np.array([50.0] * 18 + [900.0, 0.0])
    found = frequency_buckets(counts, 10)
    assert found.of_token[18] == 0
    assert np.bincount(found.of_token, minlength=10).tolist() == [1, 2, 2, 2, 2, 2, 2, 2, 2, 3]
    assert found.names[:2] == ("rank 1", "rank 2-3")
    assert found.names[-1] == "rank 18-20"


@pytest.mark.parametrize(("counts", "classes"), [([5, 0, 0], 1), ([3, 2, 0], 2), ([0, 0, 0], 1), ([1, 1, 1], 3)])
def test_there_are_never_more_classes_than_tokens_that_occur(counts: list[int], classes: int) -> None:
    """What never occurs is in the last class; ties go by id."""
    found = frequency_buckets(counts, 5)
    assert len(found.names) == classes
    assert sorted(set(found.of_token.tolist())) == list(range(classes))


@pytest.mark.parametrize("seed", range(5))
def test_buckets_of_any_counts_are_a_partition(seed: int) -> None:
    """Random counts with many zeros and ties: every token has a class, no class is empty, ranks join up."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, 50) * rng.integers(0, 30, 50)
    buckets = int(rng.integers(2, 15))
    found = frequency_buckets(counts, buckets)
    assert len(found.names) == min(buckets, np.count_nonzero(counts))
    assert (np.bincount(found.of_token, minlength=len(found.names)) > 0).all()
    assert found.names[-1].endswith("50")


def test_tokens_belong_to_the_source_that_they_are_typical_of() -> None:
    """Shares of a source count, not occurrences: a large source does not own what a small one is made of."""
    found = typical_sources({"small": [8, 2, 0, 0], "large": [20, 900, 80, 0]})
    assert found.names == ("large", "small")
    assert [found.names[i] for i in found.of_token] == ["small", "large", "large", "large"]
