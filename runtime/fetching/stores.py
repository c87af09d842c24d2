"""One file out of a store, or a folder: whole or not at all; tries again what may pass, and says why nothing else can."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.errors import first_line
from runtime.fetching.problems import StoreError, explained
from runtime.files import temporary_path
from runtime.status import write_line

if TYPE_CHECKING:
    from streaming.base.storage import CloudDownloader

__all__ = [
    "FIRST_CONTACT",
    "PATIENCE",
    "Patience",
    "download",
    "downloader",
]

_CHANCE: Final = random.SystemRandom()
_POLL_SECONDS: Final = 0.1
# What comes out damaged is fetched once more: the way may have garbled it. A third time would only cost time.
_DAMAGED_TRIES: Final = 2


@dataclass(frozen=True)
class Patience:
    """How long a store that fails is asked again: waits double from `first_wait` on, each shortened by up to a half by chance.

    Args:
        seconds: no try is begun later than this after the first one, but for `least_tries`.
        least_tries: tries at least, since one alone may take a minute to fail.
        first_wait: seconds before the second try.
        longest_wait: seconds between tries, at most.
        stall: seconds without a byte after which a connection is given up.
    """

    seconds: float
    least_tries: int = 3
    first_wait: float = 1.0
    longest_wait: float = 30.0
    stall: float = 20.0

    def waits(self) -> Iterator[float]:
        """Seconds to wait before each further try; ends where patience does.

        Chance spreads the workers of many machines, which all fail at the same time; it has its own generator, since the
        training's is seeded.
        """
        begin, number = time.monotonic(), 1
        while True:
            pause = min(self.longest_wait, self.first_wait * 2 ** (number - 1)) * _CHANCE.uniform(0.5, 1.0)
            if number >= self.least_tries and time.monotonic() - begin + pause > self.seconds:
                return
            yield pause
            number += 1


PATIENCE: Final = Patience(120.0)
"""In the middle of a run: long enough for a store that is started again."""

FIRST_CONTACT: Final = Patience(6.0, least_tries=2)
"""Before anything was read: an address that is wrong should be told in seconds."""


def downloader(remote: str | None) -> CloudDownloader:
    """Streaming's downloader for a URL or a folder, with timeouts that notice a store that went silent.

    Raises:
        StoreError: no such kind of store, or its package is not installed.
    """
    from streaming.base.storage import CloudDownloader

    try:
        if remote is not None and remote.startswith("s3://"):
            from runtime.fetching.s3 import TimedS3Downloader

            return TimedS3Downloader()
        return CloudDownloader.get(remote)
    except (ImportError, ValueError) as error:
        raise StoreError("unusable", str(remote), first_line(error)) from error


def download(
    source: CloudDownloader,
    url: str,
    target: Path,
    *,
    patience: Patience,
    check: Callable[[Path], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Fetch a file; `target` appears whole and checked, or not at all, and nothing else is left.

    Two runs that fetch into one folder at the same time write the same bytes under one name, each at once.

    Args:
        source: of `downloader`.
        url: URL or path of the file.
        target: where it shall be.
        patience: how long to try.
        check: raises StoreError (`damaged`) for a file that is not what was asked for.
        stopped: whether nobody wants the file any more.

    Raises:
        StoreError: the last reason, where trying again doesn't help or patience has ended.
    """
    waits = patience.waits()
    damaged, number = 0, 1
    while True:
        error = _try(source, url, target, check, patience.stall)
        if error is None:
            return
        damaged += error.problem == "damaged"
        pause = next(waits, None)
        if error.problem not in ("away", "damaged") or damaged >= _DAMAGED_TRIES or pause is None or stopped():
            raise error
        if number > 1:  # once is nothing; from then on a person should see why the run stands still
            write_line(f"{url}: {error.reason}; trying again in {pause:.0f} s", sys.stderr)
        _wait(pause, stopped)
        number += 1


def _wait(seconds: float, stopped: Callable[[], bool]) -> None:
    """Sleep, but not on when nobody waits for the result."""
    end = time.monotonic() + seconds
    while not stopped() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _POLL_SECONDS))


def _try(
    source: CloudDownloader, url: str, target: Path, check: Callable[[Path], None] | None, stall: float
) -> StoreError | None:
    """One try; the reason where it failed."""
    temporary = temporary_path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.download(url, str(temporary), stall)
        if check is not None:
            check(temporary)
        os.replace(temporary, target)
    except StoreError as error:
        return error
    except Exception as error:  # noqa: BLE001  # each store has its own exceptions
        source.clean_up()  # the next try opens a new connection, with credentials that may be new
        return explained(error, url, target)
    finally:
        _remove(temporary)
    return None


def _remove(temporary: Path) -> None:
    """Remove a temporary file, and those that downloaders put beside it until they are whole."""
    for path in temporary.parent.glob(f"{temporary.name}*"):
        path.unlink(missing_ok=True)
