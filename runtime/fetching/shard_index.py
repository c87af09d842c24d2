"""Readers of the shards that an index.json names: as Streaming's, in a tenth of the time and half of the memory."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streaming.base.format import FileInfo
from streaming.base.format.mds import MDSReader

from runtime.fetching.shard_files import is_inside

if TYPE_CHECKING:
    from streaming.base.format import Reader

__all__ = ["open_shards"]


def open_shards(folder: Path, *, allow_unsafe_types: bool) -> list[Reader]:
    """Readers in the order of the index.

    Streaming copies the index's entry of each shard in depth, which takes 0.1 ms and 2 KB a shard: half a minute for the
    300,000 shards of 10T tokens. Here shards share what they have in common.

    Args:
        folder: of index.json and the shards.
        allow_unsafe_types: whether columns may be pickled Python objects.

    Raises:
        ValueError, KeyError, TypeError: it is not an index of MDS shards of version 2, a column is unsafe, or a shard is
            elsewhere.
        OSError: there is none.
    """
    with _no_collections():
        return _readers(folder, json.loads((folder / "index.json").read_bytes()), allow_unsafe_types)


def _readers(folder: Path, index: dict[str, Any], allow_unsafe_types: bool) -> list[Reader]:
    lists: dict[tuple[Any, ...], list[Any]] = {}
    readers: list[Reader] = []
    for entry in index["shards"]:
        if (index["version"], entry["version"], entry["format"]) != (2, 2, "mds"):
            raise ValueError("it is not an index of MDS shards of version 2")
        kinds = len(lists)
        encodings, names, sizes, hashes = (
            lists.setdefault((key, *entry[key]), entry[key])
            for key in ("column_encodings", "column_names", "column_sizes", "hashes")
        )
        raw, packed = (FileInfo(**entry[key]) if entry[key] else None for key in ("raw_data", "zip_data"))
        for part in (raw, packed):
            if part is not None and not is_inside(part.basename):
                raise ValueError(f"the shard `{part.basename}` is not below it")
        reader = MDSReader(
            str(folder), "", encodings, names, sizes, entry["compression"], hashes, raw, entry["samples"],
            entry["size_limit"], packed,
        )  # fmt: skip
        if len(lists) > kinds:  # columns that were not seen before
            reader.validate(allow_unsafe_types)
        readers.append(reader)
    return readers


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Without the search for cycles: it visits all objects of torch and transformers again for every few thousand new ones,
    and made 0.57 s of 0.09 s for 12,000 shards.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
