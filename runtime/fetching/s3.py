"""Streaming's S3 downloader with timeouts that notice a store that went silent, and public buckets without credentials."""

from __future__ import annotations

import functools
import os
from typing import Any, Final

from boto3.session import Session
from botocore import UNSIGNED
from botocore.config import Config
from streaming.base.constant import DEFAULT_TIMEOUT
from streaming.base.storage import S3Downloader

__all__ = ["TimedS3Downloader"]

_CONNECT_SECONDS: Final = 10.0
# Of each request; its waits are up to 1 and 2 s. A store that refuses a third of its requests fails a download of two
# requests once in 19 tries so, not every second time.
_ATTEMPTS: Final = 3


class TimedS3Downloader(S3Downloader):  # type: ignore[misc]  # streaming has no types
    """botocore's own timeout for a connection is 60 s, with up to five attempts: minutes before anything is known."""

    def clean_up(self) -> None:
        """Keep the client: it opens new connections by itself."""

    def _create_s3_client(self, unsigned: bool = False, timeout: float = DEFAULT_TIMEOUT) -> Any:
        self._s3_client = _client(os.getpid(), _environment(), unsigned, timeout)


def _environment() -> tuple[tuple[str, str], ...]:
    """What a client depends on."""
    return tuple((name, value) for name, value in os.environ.items() if name.startswith(("AWS_", "S3_")))


@functools.lru_cache(maxsize=8)
def _client(process: int, environment: tuple[tuple[str, str], ...], unsigned: bool, timeout: float) -> Any:
    """One client for all sources of a process: making one reads its service's description, 0.3 s of a core.

    Without credentials it asks as anybody, which is enough for a public bucket. A forked process must not use the
    connections of its parent, hence `process`.
    """
    del process
    session = _session(environment)
    anybody = unsigned or session.get_credentials() is None
    config = Config(
        connect_timeout=min(timeout, _CONNECT_SECONDS),
        read_timeout=timeout,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        **({"signature_version": UNSIGNED} if anybody else {}),
    )
    return session.client("s3", config=config, endpoint_url=dict(environment).get("S3_ENDPOINT_URL"))


@functools.lru_cache(maxsize=8)
def _session(environment: tuple[tuple[str, str], ...]) -> Session:
    """What was read of descriptions is kept over a fork."""
    del environment  # read by boto3 itself
    return Session()
