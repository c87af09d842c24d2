"""Held-out samples of a prepared source, read in order by one process, from a folder or an object store."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from streaming import Stream
from streaming.base.format import Reader
from streaming.base.world import World

from runtime.data.mds import token_ids
from runtime.data.shards import damaged
from runtime.errors import first_line

__all__ = ["read_rows", "read_samples"]


def read_samples(share: Mapping[str, Any], folder: Path, column: str, cache: Path) -> Iterator[npt.NDArray[np.int64]]:
    """Samples of one split of text, each of shape (sequence_length,); see `read_rows`.

    Args:
        share: what `prepare` says of the split.
        folder: of the prepare step.
        column: MDS column of token ids.
        cache: where shards of a remote are kept.

    Raises:
        DataError: a shard is missing or damaged, or holds no token ids (RC408).
    """
    for number, row in enumerate(read_rows(share, folder, cache)):
        tokens = token_ids(row.get(column))
        if tokens is None:
            place = share["remote"] or folder / share["local"]
            found = f"held-out sample {number} in {place} is not an array of token ids"
            raise damaged(folder, found)
        yield tokens.astype(np.int64)


def read_rows(share: Mapping[str, Any], folder: Path, cache: Path) -> Iterator[Mapping[str, Any]]:
    """Rows of one split, decoded, in order.

    Reads shard by shard, without the shared memory of a StreamingDataset: a training may still live in this process.

    Args:
        share: `remote` or `local` (a path relative to `folder`), `first_sample` and `samples`, as `prepare` says them.
        folder: of the prepare step.
        cache: where shards of a remote are kept.

    Raises:
        DataError: a shard is missing or damaged (RC408).
    """
    first, end = share["first_sample"], share["first_sample"] + share["samples"]
    if first == end:
        return
    stream = _stream(share, folder, cache)
    place = share["remote"] or folder / share["local"]
    try:
        shards = stream.get_shards(World.detect(), allow_unsafe_types=False)
        start = 0
        for shard in shards:
            rows = range(max(first - start, 0), min(end - start, shard.samples))
            if rows:
                yield from _rows(stream, shard, rows)
            start += shard.samples
    except (OSError, ValueError, KeyError, RuntimeError, IndexError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = f"a shard of held-out samples in {place} can't be read: {first_line(error)}"
        raise damaged(folder, message) from error


def _rows(stream: Stream, shard: Reader, rows: range) -> Iterator[Mapping[str, Any]]:
    stream.prepare_shard(shard)
    for row in rows:
        yield shard[row]


def _stream(share: Mapping[str, Any], folder: Path, cache: Path) -> Stream:
    """Where the shards are; those of a remote are copied, so that nothing is unpacked into a user's folder.

    Retries and time-out are Streaming's own defaults, which a stream outside of a StreamingDataset has to be given.
    """
    remote = share["remote"]
    if remote is None:
        local = folder / share["local"]
    else:
        local = cache / f"heldout-{hashlib.sha256(remote.encode()).hexdigest()[:16]}"
    return Stream(remote=remote, local=str(local), download_retry=2, download_timeout=60, keep_zip=False)
