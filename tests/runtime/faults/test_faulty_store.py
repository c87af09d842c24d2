"""A real S3 server that fails as stores do: the samples are the same as from a folder, or the error says what to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.errors import DataError, RunFailed
from runtime.fetching.stores import Patience
from runtime.fetching.worker_errors import BadSampleError
from tests.runtime.faults.case import BRIEF, dataset_of, fed, shards_of, write_remotes
from tests.runtime.faults.store import Fault, FaultyStore, at_random, s3_server

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

REMOTES = {name: f"s3://bucket/{name}" for name in ("code", "prose")}
SOME = Patience(60.0, first_wait=0.1, longest_wait=1.0, stall=1.0)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A folder with the sources' shards, and the port of the server before it."""
    folder = tmp_path_factory.mktemp("served")
    write_remotes(folder / "bucket")
    with s3_server(folder) as port:
        yield folder / "bucket", port


@pytest.fixture(scope="module")
def expected(served: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """What is fed from the folder itself."""
    return fed(dataset_of(tmp_path_factory.mktemp("whole"), {name: str(served[0] / name) for name in REMOTES}))


@pytest.fixture
def faulty(served: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    """The store with a proxy that passes everything on until a test says otherwise."""
    with FaultyStore(served[1], lambda number, path: "none") as store:
        monkeypatch.setenv("S3_ENDPOINT_URL", store.url)
        yield store


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("faults", [("503", "reset", "slow"), ("cut", "503")], ids=["errors", "half"])
def test_a_third_of_all_requests_fails(
    faulty: FaultyStore, expected: list[int], tmp_path: Path, faults: tuple[Fault, ...], workers: int
) -> None:
    """Errors, resets, delays and half answers at random: every sample comes, in its place."""
    faulty.choose = at_random(0.3, faults)
    dataset = dataset_of(tmp_path, REMOTES, cache=tmp_path / "cache", patience=SOME)
    assert fed(dataset, workers) == expected
    assert sum(faulty.seen[fault] for fault in faults) >= 5
    assert not list((tmp_path / "cache").rglob(".tmp-*"))


def test_a_store_that_goes_silent(faulty: FaultyStore, expected: list[int], tmp_path: Path) -> None:
    """Connections that are accepted and never answered are given up, and tried anew."""
    dataset = dataset_of(tmp_path, REMOTES, cache=tmp_path / "cache", patience=SOME)
    faulty.choose = lambda number, path: "stall" if number in (9, 12) else "none"
    assert fed(dataset) == expected
    assert faulty.seen["stall"] == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_store_that_goes_away_and_comes_back(
    faulty: FaultyStore, expected: list[int], tmp_path: Path, workers: int
) -> None:
    """Nobody listens for two seconds; the run waits for it."""
    dataset = dataset_of(tmp_path, REMOTES, cache=tmp_path / "cache", patience=SOME)
    faulty.go()
    timer = threading.Timer(2.0, faulty.come)
    timer.start()
    try:
        assert fed(dataset, workers) == expected
    finally:
        timer.join()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_store_that_stays_away(faulty: FaultyStore, tmp_path: Path, workers: int) -> None:
    """The error says which shard and what to look at, and it comes when patience ends, not never."""
    dataset = dataset_of(tmp_path, REMOTES, cache=tmp_path / "cache", patience=BRIEF)
    faulty.go()
    begin = time.monotonic()
    with pytest.raises(BadSampleError) as caught:
        fed(dataset, workers)
    assert time.monotonic() - begin < 60
    error = caught.value.error()
    assert (type(error), error.code) == (RunFailed, "RC607")
    assert "the shard s3://bucket/" in error.message
    assert "S3_ENDPOINT_URL" in error.remedy


def test_a_shard_that_may_not_be_read(faulty: FaultyStore, tmp_path: Path) -> None:
    """Credentials that are refused are told at once."""
    dataset = dataset_of(tmp_path, REMOTES, cache=tmp_path / "cache", patience=SOME)
    faulty.choose = lambda number, path: "denied"
    before = faulty.requests
    with pytest.raises(BadSampleError, match="may not be read") as caught:
        fed(dataset)
    assert caught.value.error().code == "RC607"
    assert "AWS_ACCESS_KEY_ID" in caught.value.error().remedy
    # The look ahead asks for each of 14 shards once, and whoever reads for one of them again.
    assert faulty.requests - before < 40


def _missing(shard: Path) -> None:
    shard.unlink()


def _cut(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-100])


def _flipped(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(data)


@pytest.mark.parametrize(("packed", "workers"), [(False, 2), (True, 0)], ids=["raw", "zstd"])
@pytest.mark.parametrize("damage", [_missing, _cut, _flipped])
def test_damaged_objects(
    served: tuple[Path, int], tmp_path: Path, damage: Callable[[Path], None], packed: bool, workers: int
) -> None:
    """An object that is gone, too short or changed stops the run with its URL; after the repair all is right."""
    kind = f"{damage.__name__}-{packed}-{workers}"
    folder = served[0] / kind
    places = write_remotes(folder, compression="zstd" if packed else None)
    remotes = {name: f"s3://bucket/{kind}/{name}" for name in places}
    shard = shards_of(folder / "prose")[2]
    whole = shard.read_bytes()
    damage(shard)
    with pytest.raises(BadSampleError) as caught:
        fed(dataset_of(tmp_path / "a", remotes, cache=tmp_path / "cache"), workers)
    error = caught.value.error()
    assert (type(error), error.code) == (DataError, "RC408")
    assert f"{remotes['prose']}/{shard.name}" in error.message
    shard.write_bytes(whole)
    expected = fed(dataset_of(tmp_path / "b", places, cache=tmp_path / "whole"))
    assert fed(dataset_of(tmp_path / "a", remotes, cache=tmp_path / "cache"), workers) == expected


def test_index_in_the_store(faulty: FaultyStore, served: tuple[Path, int], tmp_path: Path) -> None:
    """An index that comes in halves is fetched again; one that isn't there, or is half in the store, is told."""
    asked: list[str] = []

    def choose(number: int, path: str) -> Fault:
        asked.append(path)
        return "cut" if number < 4 else "none"

    faulty.choose = choose
    dataset_of(tmp_path / "a", REMOTES, cache=tmp_path / "cache", patience=SOME)
    assert faulty.seen["cut"] == 4
    with pytest.raises(DataError, match=r"s3://bucket/none/index.json is missing") as caught:
        dataset_of(tmp_path / "b", {**REMOTES, "code": "s3://bucket/none"}, cache=tmp_path / "other")
    assert caught.value.code == "RC401"
    places = write_remotes(served[0] / "half")
    index = Path(places["code"], "index.json")
    index.write_bytes(index.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"s3://bucket/half/code/index.json is damaged") as caught:
        dataset_of(tmp_path / "c", {name: f"s3://bucket/half/{name}" for name in places}, cache=tmp_path / "third")
    assert caught.value.code == "RC408"
