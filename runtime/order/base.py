"""What every order of a source offers, and random numbers that no version of numpy may change."""

from __future__ import annotations

import hashlib
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ids", "SourceOrder", "name_key", "permutation"]

Ids: TypeAlias = NDArray[np.int64]


class SourceOrder(Protocol):
    """In which order the samples of one source are read, pass after pass, each pass a permutation of all of them."""

    @property
    def samples(self) -> int:
        """Samples of the source, 1 or more: the draws of one pass."""

    def draws(self, start: int, stop: int) -> Ids:
        """Sample numbers, from 0 to samples - 1, of the draws start to stop (exclusive), counted over the whole run.

        Draw k belongs to pass k // samples. Any range may be asked for at any time; costs no more than its length and
        a bounded rest, so that a resume starts at once.
        """


def name_key(name: str) -> int:
    """A number of 64 bits that stands for a source in seeds: adding a source leaves the orders of the others."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def permutation(words: tuple[int, ...], size: int) -> Ids:
    """A random permutation of 0 to size - 1, [size], given by a seed of several words.

    Sorts keys of PCG64's raw output: numpy promises to keep the streams of bit generators and SeedSequence for ever (NEP
    19), but not those of `Generator.permutation` and `shuffle`, on which Streaming's own shuffles stand.
    """
    keys = np.random.PCG64(np.random.SeedSequence(words)).random_raw(size)
    return np.argsort(keys, kind="stable").astype(np.int64, copy=False)
