"""metrics.jsonl: one JSON object a logged batch, each step once, however often the run was killed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TextIO

from composer.core import Callback, State
from composer.loggers import Logger

from runtime.callbacks.ledger import Ledger
from runtime.files import disk_errors, write_bytes

__all__ = ["MetricsFile", "cut"]


def cut(path: Path, step: int) -> None:
    """Leave the whole lines up to a step; what came after it will be trained again."""
    kept = []
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + b"\n")
            except (ValueError, KeyError, TypeError):
                break  # a kill in the middle of a line
    write_bytes(path, b"".join(kept))


def _is_no_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


class MetricsFile(Callback):  # type: ignore[misc]  # composer has no types
    """Appends the ledger's records; only the first rank has one."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self._path, self._ledger = path, ledger
        self._file: TextIO | None = None

    def fit_start(self, state: State, logger: Logger) -> None:
        """Open the file at the step that training goes on from."""
        cut(self._path, int(state.timestamp.batch))
        self._file = self._path.open("a", encoding="utf-8")

    def batch_checkpoint(self, state: State, logger: Logger) -> None:
        """Write a line, at once, so that `tail -f` shows it. JSON has no NaN: a loss that is none becomes null."""
        record = self._ledger.record
        if record is None or self._file is None:
            return
        plain = {name: None if _is_no_number(value) else value for name, value in record.items()}
        with disk_errors(self._path):
            self._file.write(json.dumps(plain) + "\n")
            self._file.flush()

    def close(self, state: State, logger: Logger) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
