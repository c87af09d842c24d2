"""Random order of a source, read shard by shard: any draw of any pass, in the memory of a few blocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import numpy as np

from runtime.order.base import Ids, name_key, permutation

__all__ = ["ShuffledOrder"]

_BLOCKS: Final = 2
"""Shuffled blocks that are kept; draws go forward, so one is in use and one is left behind."""

_Key = TypeVar("_Key")
_Made = TypeVar("_Made")


class _Pass(NamedTuple):
    """Shards of a pass in their shuffled order: numbers, first place in the pass, and the first place of each block."""

    shards: Ids
    places: Ids
    blocks: Ids


class ShuffledOrder:
    """Each pass shuffles the shards of the source, cuts them into blocks of neighbours, and shuffles each block's samples.

    This is the locality of Streaming's py1s and py1b orders: as many shards are in use at a time as a block holds, and
    each is read from begin to end before the next block. Unlike there, a block is whole shards, so that no shard is
    fetched for two blocks, and any block is made on its own, without the ones before it. Streaming's functions aren't
    called, since they shuffle the whole epoch at once, and by numpy's Generator, whose streams may change between versions.

    Args:
        name: the source's; with `seed` it gives the order.
        seed: the plan's.
        shards: samples of each shard, in the order of sample numbers, [shards]; only those to be read of it.
        block: samples of a block at least, unless the source has fewer.
    """

    def __init__(self, name: str, seed: int, shards: Ids, block: int) -> None:
        self._words = (seed, name_key(name))
        self._sizes = np.asarray(shards, np.int64)
        self._first = np.cumsum(self._sizes) - self._sizes
        self._block = block
        self._samples = int(self._sizes.sum())
        self._passes: OrderedDict[int, _Pass] = OrderedDict()
        self._shuffled: OrderedDict[tuple[int, int], Ids] = OrderedDict()

    @property
    def samples(self) -> int:
        """Samples of the source: the draws of one pass."""
        return self._samples

    def draws(self, start: int, stop: int) -> Ids:
        """Sample numbers of the draws start to stop (exclusive), counted over the whole run; see SourceOrder."""
        parts = []
        while start < stop:
            number, place = divmod(start, self._samples)
            blocks = self._pass(number).blocks
            at = int(np.searchsorted(blocks, place, side="right")) - 1
            end = min(int(blocks[at + 1]), place + stop - start)
            parts.append(self._samples_of(number, at)[place - blocks[at] : end - blocks[at]])
            start += end - place
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _pass(self, number: int) -> _Pass:
        return _kept(self._passes, number, lambda: self._make_pass(number))

    def _samples_of(self, number: int, block: int) -> Ids:
        return _kept(self._shuffled, (number, block), lambda: self._make_block(number, block))

    def _make_pass(self, number: int) -> _Pass:
        shards = permutation((*self._words, number), len(self._sizes))
        ends = np.cumsum(self._sizes[shards])
        blocks = [0]
        while self._samples - blocks[-1] >= 2 * self._block:
            # The first shard end that makes the block large enough; the rest, less than another block, goes into the last.
            blocks.append(int(ends[np.searchsorted(ends, blocks[-1] + self._block)]))
        if blocks[-1] < self._samples:
            blocks.append(self._samples)
        return _Pass(shards, ends - self._sizes[shards], np.array(blocks, np.int64))

    def _make_block(self, number: int, block: int) -> Ids:
        shards, places, blocks = self._pass(number)
        begin, end = (int(place) for place in blocks[block : block + 2])
        inside = slice(*np.searchsorted(places, [begin, end]).tolist())
        to_ids = np.repeat(self._first[shards[inside]] - places[inside], self._sizes[shards[inside]])
        ids: Ids = np.arange(begin, end) + to_ids
        return np.take(ids, permutation((*self._words, number, block), end - begin))


def _kept(cache: OrderedDict[_Key, _Made], key: _Key, make: Callable[[], _Made]) -> _Made:
    """The value of a key, made if it is not there; the oldest one goes."""
    if key not in cache:
        while len(cache) >= _BLOCKS:
            cache.popitem(last=False)
        cache[key] = make()
    return cache[key]
