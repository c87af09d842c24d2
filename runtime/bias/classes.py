"""Classes of a language model: its vocabulary parted by how often tokens occur, or by the source that they are typical of.

A next-token prediction then has a true class and a predicted one, as a classifier's has: those of the token that comes, and of
the token that is likeliest.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Partition", "frequency_buckets", "typical_sources"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """Classes by name, and the class of each token, shape (vocabulary,)."""

    names: tuple[str, ...]
    of_token: Integers


def frequency_buckets(counts: npt.ArrayLike, buckets: int) -> Partition:
    """Tokens in order of how often they occur, cut into classes of about equally many occurrences each.

    A token that alone has more than a bucket's share is a class of its own, and the others part what remains; so no class is
    empty while there are as many tokens as classes. Tokens that never occur go to the last class. Ties go by id.

    Args:
        counts: occurrences of each token, whole or weighted, shape (vocabulary,).
        buckets: classes that are wanted.

    Returns:
        Classes named by ranks, `rank 1-9` holding the most frequent tokens. Fewer than asked for if fewer tokens occur.
    """
    found = np.asarray(counts, dtype=np.float64)
    order = np.argsort(-found, kind="stable")
    seen = int(np.count_nonzero(found))
    wanted = max(1, min(buckets, seen))
    left = np.concatenate([np.cumsum(found[order][::-1])[::-1], [0.0]])
    edges = [0]
    for number in range(wanted - 1):
        start = edges[-1]
        share = left[start] / (wanted - number)
        # The first token with which the class has its share; as many tokens stay as classes are still to come.
        taken = left[start] - left[start + 1 : seen + 1]
        end = start + 1 + int(np.searchsorted(taken, share * (1 - 1e-12)))
        edges.append(min(end, seen - (wanted - number - 1)))
    edges.append(len(found))
    of_token = np.empty(len(found), dtype=np.int64)
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        of_token[order[start:end]] = number
    names = [f"rank {a + 1}-{b}" if b > a + 1 else f"rank {b}" for a, b in itertools.pairwise(edges)]
    return Partition(tuple(names), of_token)


def typical_sources(counts: Mapping[str, npt.ArrayLike]) -> Partition:
    """Each token belongs to the source of whose text it is the largest share; those that never occur, to the first.

    Args:
        counts: occurrences of each token, by source, each of shape (vocabulary,).
    """
    names = tuple(sorted(counts))
    found = np.stack([np.asarray(counts[name], dtype=np.float64) for name in names])
    shares = found / np.maximum(found.sum(axis=1, keepdims=True), 1.0)
    return Partition(names, shares.argmax(axis=0).astype(np.int64))
