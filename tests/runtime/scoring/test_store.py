"""The store of scores: whole chunks or none, found again, merged without a loss, damaged ones passed over."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import RunFailed
from runtime.scoring import store as module
from runtime.scoring.store import ScoreStore, digests_of

SETTINGS = {"metric": "ttr", "version": 1}


def opened(folder: Path, **settings: object) -> ScoreStore:
    """A store in `folder`."""
    store = ScoreStore(folder, {**SETTINGS, **settings})
    store.open()
    return store


def write(store: ScoreStore, start: int, count: int) -> None:
    """`count` documents, each with its number as score."""
    numbers = range(start, start + count)
    store.write(digests_of([n.to_bytes(16, "little") for n in numbers]), np.array(numbers, np.float32))


def content(store: ScoreStore) -> dict[int, float]:
    """All scores by the document's number."""
    return {
        int.from_bytes(digest.ljust(16, b"\0"), "little"): float(score)
        for digests, scores in store.read()
        for digest, score in zip(digests.tolist(), scores, strict=True)
    }


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """By another store of the same settings, and by no other."""
    write(opened(tmp_path), 0, 300)
    write(opened(tmp_path), 300, 1)
    assert content(opened(tmp_path)) == {n: n for n in range(301)}
    assert content(opened(tmp_path, version=2)) == {}


def test_many_chunks_become_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost when chunks are merged, also while another process reads."""
    monkeypatch.setattr(module, "_FULL_ROWS", 50)
    store = opened(tmp_path)
    for start in range(0, 300, 3):
        write(store, start, 3)
    reading = store.read()
    seen = {float(score) for _ in range(5) for score in next(reading)[1]}
    store.compact()
    assert len(list(store.folder.glob("*.npy"))) < 10
    seen |= {float(score) for _, scores in reading for score in scores}
    assert seen == set(range(300))
    assert content(store) == {n: n for n in range(300)}


def test_a_few_chunks_stay(tmp_path: Path) -> None:
    """Merging is for hundreds of files."""
    store = opened(tmp_path)
    for start in range(0, 30, 3):
        write(store, start, 3)
    before = sorted(store.folder.iterdir())
    store.compact()
    assert sorted(store.folder.iterdir()) == before


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"nothing of ours"])
def test_a_damaged_chunk_is_passed_over(tmp_path: Path, damage: bytes) -> None:
    """Its documents are scored again; a chunk cut short is no half of a chunk."""
    store = opened(tmp_path)
    write(store, 0, 10)
    path = next(store.folder.glob("*.npy"))
    whole = path.read_bytes()
    path.write_bytes(damage or whole[:-1])
    write(store, 10, 10)
    assert content(store) == {n: n for n in range(10, 20)}


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """Half-written files never count, and go when the store is opened again."""
    from runtime.files import _host

    store = opened(tmp_path)
    left = store.folder / f".tmp-{_host()}-999999999-0-x.npy"
    left.write_bytes(b"half")
    assert content(opened(tmp_path)) == {}
    assert not left.exists()


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the usual code, and nothing half-written stays."""
    store = opened(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFailed) as caught:
        write(store, 0, 3)
    assert caught.value.code == "RC604"
    assert not list(store.folder.glob("*.npy")) + list(store.folder.glob(".tmp-*"))
