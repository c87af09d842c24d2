"""Shards that are missing, cut short or changed: the error names them, and after the repair the run is as if never broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import DataError
from runtime.fetching.worker_errors import BadSampleError
from tests.runtime.faults.case import BATCH, batches, dataset_of, fed, shards_of, write_remotes

# Streaming leaves the files that it reads to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def _cut(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-20])


def _flip(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    data[-1] ^= 0x40
    shard.write_bytes(data)


def _remove(shard: Path) -> None:
    shard.unlink()


DAMAGES = {"missing": _remove, "cut": _cut, "flipped": _flip}
SAID = {"missing": "is missing", "cut": "its index says", "flipped": "is not what its index says"}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("copied", [False, True], ids=["here", "copied packed"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_repaired(tmp_path: Path, damage: str, copied: bool, workers: int) -> None:
    """One damaged shard stops the loader with its name; what was fed before is right, and so is all after the repair."""
    remotes = write_remotes(tmp_path / "remote", compression="zstd" if copied else None)
    expected = fed(dataset_of(tmp_path / "a", remotes, cache=tmp_path / "whole"))
    shard = shards_of(remotes["code"])[4]
    whole = shard.read_bytes()
    DAMAGES[damage](shard)
    cache = tmp_path / "cache" if copied else None
    with pytest.raises(BadSampleError) as caught:
        fed(dataset_of(tmp_path / "b", remotes, cache=cache), workers)
    error = caught.value.error()
    assert (type(error), error.code) == (DataError, "RC408")
    assert str(shard) in error.message
    assert SAID[damage] in error.message
    assert "write the shard again" in error.remedy
    if copied:  # nothing of it may be taken for whole when it has been mended
        assert not list((tmp_path / "cache" / "code").glob(f"{shard.name.split('.mds')[0]}*"))
    shard.write_bytes(whole)
    assert fed(dataset_of(tmp_path / "b", remotes, cache=cache), workers) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_before_the_damage_are_fed(tmp_path: Path, workers: int) -> None:
    """The loader looks thousands of samples ahead, but a damaged shard stops it only where it is needed."""
    remotes = write_remotes(tmp_path / "remote")
    expected = fed(dataset_of(tmp_path / "a", remotes, steps=6))
    # The last shard that is read first: that of the sample which comes latest for the first time.
    last = max(range(50), key=lambda sample: expected.index(sample) if sample in expected else -1)
    per_shard = len(shards_of(remotes["code"]))
    size = -(-50 // per_shard)
    _flip(shards_of(remotes["code"])[last // size])
    first_bad = min(at for at, sample in enumerate(expected) if sample < 50 and sample // size == last // size)
    got: list[int] = []

    def read() -> None:
        for batch in batches(dataset_of(tmp_path / "b", remotes, steps=6), workers):
            got.extend(batch)

    with pytest.raises(BadSampleError):
        read()
    assert got == expected[: first_bad // BATCH * BATCH]


@pytest.mark.parametrize(
    "make_bad", [_cut, _remove, lambda path: path.write_text("{}")], ids=["cut", "missing", "empty"]
)
def test_index_that_cannot_be_used(tmp_path: Path, make_bad: Callable[[Path], None]) -> None:
    """An index that is half there or gone is told by name, here and in the place that is copied from."""
    remotes = write_remotes(tmp_path / "remote")
    index = Path(remotes["code"], "index.json")
    make_bad(index)
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(DataError) as caught:
            dataset_of(tmp_path / "run", remotes, cache=cache)
        assert caught.value.code in ("RC401", "RC408")
        assert "index.json" in caught.value.message
        assert caught.value.remedy


def test_damaged_copy_is_fetched_again(tmp_path: Path) -> None:
    """Copies of an earlier run are compared before they are read: one that rotted is replaced, silently and rightly."""
    remotes = write_remotes(tmp_path / "remote")
    expected = fed(dataset_of(tmp_path / "a", remotes, cache=tmp_path / "cache"))
    copies = shards_of(tmp_path / "cache" / "code")
    _flip(copies[0])
    _cut(copies[1])
    copies[2].unlink()
    (tmp_path / "cache" / "code" / "index.json").write_text('{"version": 2, "sha')
    assert fed(dataset_of(tmp_path / "b", remotes, cache=tmp_path / "cache")) == expected
    originals = [path.read_bytes() for path in shards_of(remotes["code"])]
    assert [path.read_bytes() for path in shards_of(tmp_path / "cache" / "code")] == originals
