"""Ports of this machine, for the servers that tests start."""

from __future__ import annotations

import socket
import time

__all__ = ["free_port", "wait_for"]

_SECONDS = 60


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Return when somebody listens at a port.

    Raises:
        TimeoutError: nobody does within a minute.
    """
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(port)
