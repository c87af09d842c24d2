"""Readers made from an index: equal to those that Streaming makes."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.data.mds import read_index
from runtime.errors import DataError
from runtime.fetching.shard_index import open_shards
from schemas.sources import MdsSource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Packed shards of two columns."""
    from streaming import MDSWriter

    columns = {"tokens": "ndarray:uint16:8", "name": "str"}
    with MDSWriter(out=str(tmp_path), columns=columns, compression="zstd", hashes=["sha1"], size_limit=200) as writer:
        for number in range(20):
            writer.write({"tokens": np.full(8, number, np.uint16), "name": str(number)})
    return tmp_path


def _fields(reader: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(reader).items() if not name.startswith("_")}


def test_readers_are_those_of_streaming(folder: Path) -> None:
    """Every field of every shard; and collections of garbage go on afterwards."""
    from streaming.base.format import reader_from_json

    entries = json.loads((folder / "index.json").read_text())["shards"]
    theirs = [reader_from_json(str(folder), "", entry) for entry in entries]
    ours = open_shards(folder, allow_unsafe_types=False)
    assert len(ours) > 3
    assert [_fields(reader) for reader in ours] == [_fields(reader) for reader in theirs]
    assert ours[0].column_encodings is ours[-1].column_encodings
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"column_encodings": ["pkl", "str"]}, "unsafe type"), ({"version": 3}, "version 2"), ({"format": "csv"}, "MDS")],
)
def test_shards_that_are_not_ours_to_read_are_refused(folder: Path, change: dict[str, Any], reason: str) -> None:
    """Pickled columns run code when they are read; also where only a later shard has them."""
    index = json.loads((folder / "index.json").read_text())
    index["shards"][2].update(change)
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=reason):
        open_shards(folder, allow_unsafe_types=False)
    assert gc.isenabled()


@pytest.mark.parametrize("name", ["../shard.mds", "/tmp/shard.mds", "a/../../shard.mds", ""])
@pytest.mark.parametrize("part", ["raw_data", "zip_data"])
def test_an_index_reaches_no_file_outside_its_folder(folder: Path, part: str, name: str) -> None:
    """A copy is written, and evicted, where the index says: that must not be a file of the user's."""
    index = json.loads((folder / "index.json").read_text())
    index["shards"][2][part]["basename"] = name
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="not below it"):
        open_shards(folder, allow_unsafe_types=False)
    with pytest.raises(DataError, match="damaged, or not an index"):
        read_index(MdsSource(mds=str(folder)), ())
