"""Checks in processes of their own: started ahead, so that imports cost no time, told to begin, watched, and ended whole."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.gpu.checks import Check
from benchmarks.gpu.shapes import Device

__all__ = ["CheckProcess", "ahead"]

_ROOT: Final = Path(__file__).parent.parent.parent
_TAIL: Final = 300
"""Letters of a reason that are kept."""


@dataclass
class CheckProcess:
    """One check. It waits for `measured`, and nothing of it is left after the `with` block.

    Args:
        check: which.
        device: where.
        steps: of its training.
        work: folder of recipes, runs and logs, which checks share.
    """

    check: Check
    device: Device
    steps: int
    work: Path

    def __post_init__(self) -> None:
        self._out, self._log = (self.work / f"{self.check.name}.{ending}" for ending in ("json", "log"))
        self._out.unlink(missing_ok=True)
        command = [
            sys.executable, "-m", "benchmarks.gpu.measure", "--check", self.check.name, "--device", self.device,
            "--steps", str(self.steps), "--work", str(self.work), "--out", str(self._out),
        ]  # fmt: skip
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Loaders are in its process group, and the runs that it starts to kill them.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def measured(self, seconds: float) -> dict[str, Any]:
        """What it found; never raises for what happens in there.

        Args:
            seconds: after which it is given up.

        Returns:
            Its numbers with `status: ok`, or `status` failed or late, with what it said last as `reason`; check_seconds.
        """
        began = time.monotonic()
        code: int | None
        try:
            self._process.communicate(b"begin\n", timeout=seconds)
            code = self._process.returncode
        except subprocess.TimeoutExpired:
            code = None
        taken = {"check_seconds": round(time.monotonic() - began, 2)}
        if code == 0 and self._out.exists():
            return {"status": "ok", **json.loads(self._out.read_text(encoding="utf-8")), **taken}
        if code is None:
            return {"status": "late", "reason": f"not done after {seconds:.0f} s", **taken}
        return {"status": "failed", "reason": f"exit code {code}: {self._said()}", **taken}

    def _said(self) -> str:
        """The last line that says something: an error that the runtime explains, or the end of a traceback."""
        text = self._log.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error[") or "Error" in line.split(":")[0]]
        return (errors or lines or ["it said nothing"])[-1][:_TAIL]


def ahead(checks: Sequence[Check], device: Device, steps: int, work: Path) -> Generator[CheckProcess]:
    """The checks' processes in turn, each of them started one check early; those that aren't taken are ended too."""
    with contextlib.ExitStack() as stack:
        following: CheckProcess | None = None
        for number, check in enumerate(checks):
            current = following or stack.enter_context(CheckProcess(check, device, steps, work))
            following = None
            if number + 1 < len(checks):
                following = stack.enter_context(CheckProcess(checks[number + 1], device, steps, work))
            with current:
                yield current
