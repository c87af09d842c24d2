"""One file out of a store: what is tried again, for how long, what it is called in the end, and that nothing is left."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, IncompleteReadError, NoCredentialsError

from runtime.errors import DataError, RunFailed
from runtime.fetching.problems import StoreError
from runtime.fetching.stores import Patience, download, downloader

QUICK = Patience(5.0, first_wait=0.01, longest_wait=0.02)


class _Store:
    """Raises what it is given, one a try, and then writes the file."""

    def __init__(self, *errors: Exception, content: bytes = b"whole") -> None:
        self.errors = list(errors)
        self.content = content
        self.tries = 0

    def download(self, remote: str, local: str, timeout: float) -> None:
        self.tries += 1
        Path(local).write_bytes(self.content[:2])  # half of it, under the name that was asked for
        Path(f"{local}.aBcDeF12").write_bytes(b"h")  # as s3transfer does until it is whole
        if self.errors:
            raise self.errors.pop(0)
        Path(local).write_bytes(self.content)
        Path(f"{local}.aBcDeF12").unlink()

    def clean_up(self) -> None:
        """Streaming's downloaders drop their connection."""


def _refused(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


PASSING = [
    _refused("503", 503),
    _refused("SlowDown", 503),
    _refused("InternalError", 500),
    EndpointConnectionError(endpoint_url="http://store"),
    IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ConnectionResetError(errno.ECONNRESET, "reset by peer"),
    TimeoutError("timed out"),
]
LASTING = [
    (_refused("404"), DataError, "RC401"),
    (_refused("NoSuchKey"), DataError, "RC401"),
    (FileNotFoundError(errno.ENOENT, "No such file or directory"), DataError, "RC401"),
    (_refused("403"), RunFailed, "RC607"),
    (_refused("InvalidAccessKeyId"), RunFailed, "RC607"),
    (_refused("ExpiredToken"), RunFailed, "RC607"),
    (NoCredentialsError(), RunFailed, "RC607"),
    (PermissionError(errno.EACCES, "Permission denied"), RunFailed, "RC607"),
    (OSError(errno.ENOSPC, "No space left on device"), RunFailed, "RC604"),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), RunFailed, "RC604"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_tried_again(tmp_path: Path, error: Exception) -> None:
    """Twice in vain, then the file is there, alone."""
    store = _Store(error, error)
    download(store, "s3://b/k", tmp_path / "new" / "file", patience=QUICK)
    assert store.tries == 3
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert (tmp_path / "new" / "file").read_bytes() == b"whole"


@pytest.mark.parametrize(("error", "kind", "code"), LASTING, ids=lambda value: repr(value)[:40])
def test_what_lasts_is_told_at_once(tmp_path: Path, error: Exception, kind: type, code: str) -> None:
    """One try; the error names the file; nothing is left."""
    store = _Store(error)
    with pytest.raises(StoreError) as caught:
        download(store, "s3://b/k", tmp_path / "file", patience=QUICK)
    told = caught.value.error()
    assert (store.tries, type(told), told.code) == (1, kind, code)
    assert "s3://b/k" in told.message
    assert told.remedy
    assert not list(tmp_path.iterdir())


def test_patience_ends(tmp_path: Path) -> None:
    """A store that stays away is given up after the time that was given, with what it said last."""
    store = _Store(*[ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")] * 1000)
    begin = time.monotonic()
    with pytest.raises(StoreError, match="Connection refused") as caught:
        download(store, "s3://b/k", tmp_path / "file", patience=Patience(0.5, first_wait=0.05, longest_wait=0.1))
    assert 0.2 < time.monotonic() - begin < 5
    assert store.tries >= 4
    assert caught.value.error().code == "RC607"


def test_who_does_not_want_it_any_more_is_not_kept_waiting(tmp_path: Path) -> None:
    """A wait of a minute ends when the run does."""
    store = _Store(*[TimeoutError("timed out")] * 9)
    begin = time.monotonic()
    with pytest.raises(StoreError):
        download(
            store, "s3://b/k", tmp_path / "file",
            patience=Patience(600.0, first_wait=60.0, longest_wait=60.0), stopped=lambda: time.monotonic() - begin > 0.2,
        )  # fmt: skip
    assert time.monotonic() - begin < 10


def _wrong(times: int) -> Callable[[Path], None]:
    left = [times]

    def check(path: Path) -> None:
        assert path.read_bytes()
        if left[0]:
            left[0] -= 1
            raise StoreError("damaged", "s3://b/k", "has 2 bytes; its index says 5")

    return check


def test_what_came_damaged_is_fetched_once_more(tmp_path: Path) -> None:
    """The way may garble a file once; twice the same means that it is so in the store."""
    once, always = _Store(), _Store()
    download(once, "s3://b/k", tmp_path / "file", patience=QUICK, check=_wrong(1))
    assert once.tries == 2
    with pytest.raises(StoreError, match="its index says 5") as caught:
        download(always, "s3://b/k", tmp_path / "other", patience=QUICK, check=_wrong(99))
    assert always.tries == 2
    assert caught.value.error().code == "RC408"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_waits_grow_and_end() -> None:
    """1, 2, 4, ... seconds, each between a half and all of it; at least as many tries as asked for, however slow they are."""

    def waits(patience: Patience) -> Iterator[float]:
        return patience.waits()

    grown = [pause for pause, _ in zip(waits(Patience(1e9)), range(8), strict=False)]
    for pause, most in zip(grown, (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert most / 2 <= pause <= most
    assert len(list(waits(Patience(0.0, least_tries=4)))) == 3


def test_unknown_kind_of_store() -> None:
    """A URL that nobody can read is told as such, not tried for two minutes."""
    with pytest.raises(StoreError) as caught:
        downloader("ftp://host/folder")
    assert "ftp://host/folder" in caught.value.error().message
