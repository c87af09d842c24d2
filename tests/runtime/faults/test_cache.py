"""Copies of remote shards: a limit holds and changes nothing else, the user's own shards never go, runs share a folder."""

from __future__ import annotations

import contextlib
import re
import threading
from functools import partial
from pathlib import Path

import pytest

from runtime.errors import RunFailed
from runtime.fetching.stream import ShardStream
from tests.runtime.faults.case import batches, dataset_of, fed, shards_of, write_remotes
from tests.runtime.faults.fork import Child

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def _shards(folder: Path) -> dict[str, int]:
    """Bytes of each shard in a cache, those on their way included."""
    found = {}
    for path in folder.glob("*/*"):
        with contextlib.suppress(FileNotFoundError):
            if "shard." in path.name:
                found[str(path)] = path.stat().st_size
    return found


def _size(folder: Path) -> int:
    return sum(_shards(folder).values())


def _least_limit(run: Path, remotes: dict[str, str], cache: Path, workers: int) -> int:
    """The limit that the error of a too small one asks for."""
    with pytest.raises(RunFailed) as caught:
        dataset_of(run, remotes, cache=cache, cache_limit=1000, workers=workers)
    assert caught.value.code == "RC609"
    assert "`launch.cache_limit` is 1 kB" in caught.value.message
    told = re.search(r"cache_limit: ([\d.]+)kB", caught.value.remedy)
    assert told is not None
    return int(float(told[1]) * 1000)


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "zstd"])
@pytest.mark.parametrize("workers", [0, 2])
def test_limit_holds_and_the_order_stays(tmp_path: Path, workers: int, packed: bool) -> None:
    """With room for a few shards of 14, they are evicted and fetched again all the time, and the samples are the same."""
    remotes = write_remotes(tmp_path / "remote", compression="zstd" if packed else None)
    expected = fed(dataset_of(tmp_path / "a", remotes, cache=tmp_path / "all"))
    limit = _least_limit(tmp_path / "b", remotes, tmp_path / "cache", workers)
    assert limit < _size(tmp_path / "all") / 2
    most, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.001):
            # One look takes a while: it may see a shard that has gone when it comes to the one in its place.
            first, second = _shards(tmp_path / "cache"), _shards(tmp_path / "cache")
            most[0] = max(most[0], sum(second.values()) if first == second else 0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        dataset = dataset_of(tmp_path / "b", remotes, cache=tmp_path / "cache", cache_limit=limit, workers=workers)
        assert fed(dataset, workers) == expected
    finally:
        ended.set()
        watcher.join()
    assert 0 < most[0] <= limit
    assert int(dataset.cache_usage) == _size(tmp_path / "cache")


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "zstd"])
def test_copies_of_an_earlier_run_count(tmp_path: Path, packed: bool) -> None:
    """A limit that is set later holds for what was copied before; a copy isn't counted off twice while it is compared."""
    remotes = write_remotes(tmp_path / "remote", compression="zstd" if packed else None)
    expected = fed(dataset_of(tmp_path / "a", remotes, cache=tmp_path / "cache"))
    limit = _least_limit(tmp_path / "b", remotes, tmp_path / "cache", 0)
    shards_of(tmp_path / "cache" / "code")[0].unlink()
    dataset = dataset_of(tmp_path / "b", remotes, cache=tmp_path / "cache", cache_limit=limit)
    assert fed(dataset) == expected
    assert int(dataset.cache_usage) == _size(tmp_path / "cache") <= limit


def test_shards_that_are_no_copies_are_never_deleted(tmp_path: Path) -> None:
    """Streaming evicts whatever was read longest ago; here only what can be fetched again counts, and goes."""
    remotes = write_remotes(tmp_path / "remote")
    before = {path: path.read_bytes() for name in remotes for path in shards_of(remotes[name])}
    expected = fed(dataset_of(tmp_path / "a", remotes))
    assert fed(dataset_of(tmp_path / "b", remotes, cache_limit=1)) == expected
    assert {path: path.read_bytes() for name in remotes for path in shards_of(remotes[name])} == before


def test_deleted_copies_are_fetched_again(tmp_path: Path) -> None:
    """Somebody empties the cache in the middle of a run: it goes on."""
    remotes = write_remotes(tmp_path / "remote")
    expected = fed(dataset_of(tmp_path / "a", remotes))
    got: list[int] = []
    dataset = dataset_of(tmp_path / "b", remotes, cache=tmp_path / "cache")
    for number, batch in enumerate(batches(dataset, workers=1)):
        got += batch
        if number == 3:
            for name in remotes:
                for path in shards_of(tmp_path / "cache" / name):
                    path.unlink()
    assert got == expected


def test_two_runs_share_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started together, both read the right samples, each shard is fetched once, and nothing half-written stays."""
    remotes = write_remotes(tmp_path / "remote", compression="zstd")
    expected = fed(dataset_of(tmp_path / "a", remotes, cache=tmp_path / "other"))
    record = tmp_path / "fetched"
    original = ShardStream._unpack

    def unpack(stream: ShardStream, arrived: Path, target: Path, *rest: object) -> None:
        with record.open("a") as handle:
            handle.write(f"{target}\n")
        original(stream, arrived, target, *rest)  # type: ignore[arg-type]

    def work(number: int) -> list[int]:
        return fed(dataset_of(tmp_path / f"run{number}", remotes, cache=tmp_path / "cache"), number)

    monkeypatch.setattr(ShardStream, "_unpack", unpack)
    runs = [Child(partial(work, number), tmp_path / f"{number}") for number in range(2)]
    assert [run.result(60) for run in runs] == [expected, expected]
    fetched = record.read_text().split()
    assert sorted(set(fetched)) == sorted(fetched)
    assert not list((tmp_path / "cache").rglob(".tmp-*"))
    for name in remotes:
        made = [path.read_bytes() for path in shards_of(tmp_path / "cache" / name)]
        assert made == [path.read_bytes() for path in shards_of(tmp_path / "other" / name)]


def test_two_runs_with_a_limit_in_one_cache(tmp_path: Path) -> None:
    """Each evicts what the other reads: both still end with the right samples."""
    remotes = write_remotes(tmp_path / "remote")
    expected = fed(dataset_of(tmp_path / "a", remotes))
    limit = _least_limit(tmp_path / "b", remotes, tmp_path / "cache", 1)

    def work(number: int) -> list[int]:
        dataset = dataset_of(tmp_path / f"run{number}", remotes, cache=tmp_path / "cache", cache_limit=limit, workers=1)
        return fed(dataset, 1)

    runs = [Child(partial(work, number), tmp_path / f"{number}") for number in range(2)]
    assert [run.result(60) for run in runs] == [expected, expected]
