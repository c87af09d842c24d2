"""Permutations of any size with random access: where a place goes is computed, so that nothing is kept in memory."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from runtime.order.base import Ids

__all__ = ["Permutation"]

_ROUNDS = 6
"""Four rounds of a Feistel network make a pseudo-random permutation (Luby and Rackoff 1988)."""
_SMALL = 1 << 10
"""Up to here places are sorted by a hash instead: a network over few pairs doesn't reach every permutation."""


class Permutation:
    """A permutation of 0..size-1 that its keys pick: the same on every machine and with every numpy.

    A Feistel network over pairs (left, right) with left < a, right < b, a = ceil(sqrt size), b = ceil(size / a): each round
    adds a hash of one half to the other, modulo its size, which can be undone, so that pairs are permuted. Of the
    a b < size + a pairs the few that are no place walk on until they are one (cycle walking; Black and Rogaway 2002).
    About 0.25 us a place.

    Args:
        size: places; at least 1.
        keys: what it depends on, such as seed, source and pass.
    """

    def __init__(self, size: int, *keys: object) -> None:
        self._size = size
        self._left = math.isqrt(size - 1) + 1
        self._right = -(-size // self._left)
        digest = hashlib.blake2b("\0".join(map(str, keys)).encode(), digest_size=8 * _ROUNDS).digest()
        self._keys = np.frombuffer(digest, "<u8").astype(np.uint64)
        self._table: Ids | None = None
        if size <= _SMALL:
            hashes = _mixed(_mixed(np.arange(size, dtype=np.uint64), self._keys[0]), self._keys[1])
            self._table = np.argsort(hashes, kind="stable").astype(np.int64, copy=False)

    def __call__(self, places: Ids) -> Ids:
        """Where each place of 0..size-1 goes; same shape as `places`, which is one-dimensional."""
        if self._table is not None:
            return self._table[places]
        found = self._walk(places)
        beyond = np.flatnonzero(found >= self._size)
        while beyond.size:
            found[beyond] = self._walk(found[beyond])
            beyond = beyond[found[beyond] >= self._size]
        return found

    def _walk(self, places: Ids) -> Ids:
        """Once through the network."""
        left_size, right_size = np.uint64(self._left), np.uint64(self._right)
        left, right = np.divmod(places.astype(np.uint64), right_size)
        for number in range(0, _ROUNDS, 2):
            left = (left + _mixed(right, self._keys[number]) % left_size) % left_size
            right = (right + _mixed(left, self._keys[number + 1]) % right_size) % right_size
        found: Ids = (left * right_size + right).astype(np.int64)
        return found


def _mixed(values: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """SplitMix64's finalizer of value + key modulo 2^64 (Steele, Lea and Flood 2014): each bit depends on all bits."""
    mixed = values + key
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
