"""Progress for people: one bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from composer.core import Callback, State
from composer.loggers import Logger
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from runtime.callbacks.ledger import Ledger
from runtime.status import write_line
from schemas.counted import TOKENS, Counted

__all__ = ["ConsoleProgress", "heldout", "shares"]

_LINE_SECONDS = 10.0
_BAR_SECONDS = 0.2
_MIX_WIDTH = 32


def shares(record: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """`  code 70% prose 30%`: the mix between two records, the largest first, as far as a line has room for it."""
    drawn = {
        name.removeprefix("tokens/"): tokens - before.get(name, 0)
        for name, tokens in record.items()
        if name.startswith("tokens/")
    }
    total = sum(drawn.values())
    text = ""
    for name in sorted((name for name in drawn if drawn[name]), key=lambda name: -drawn[name]):
        part = f" {name} {drawn[name] / total:.0%}"
        if len(text) + len(part) > _MIX_WIDTH:
            return f" {text} \N{HORIZONTAL ELLIPSIS}"
        text += part
    return f" {text}" if len(drawn) > 1 else ""


def heldout(record: Mapping[str, Any]) -> str:
    """`code 4.0701, prose 5.2807`, or of images `digits 0.0556 and 99.50% right`; empty where nothing was measured."""
    found: dict[str, dict[str, float]] = {}
    for name, value in record.items():
        kind, _, rest = name.partition("/")
        if kind == "heldout":
            source, _, measure = rest.rpartition("/")
            found.setdefault(source, {})[measure] = value
    said = []
    for source, measured in found.items():
        right = f" and {measured['accuracy']:.2%} right" if "accuracy" in measured else ""
        said.append(f"{source} {measured['loss']:.4f}{right}")
    return ", ".join(said)


class ConsoleProgress(Callback):  # type: ignore[misc]  # composer has no types
    """Shows step, loss, learning rate and speed. Drawn by the training loop: no thread, at most 5 times a second."""

    def __init__(self, ledger: Ledger, steps: int, stream: TextIO | None = None, *, counted: Counted = TOKENS) -> None:
        self._ledger, self._steps, self._counted = ledger, steps, counted
        self._stream = stream or sys.stderr
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._shown = 0.0
        self._facts = ""
        self._latest: Mapping[str, Any] = {}
        self._told: Mapping[str, Any] = {}

    def fit_start(self, state: State, logger: Logger) -> None:
        """Begin the bar, where there is a terminal."""
        if not self._stream.isatty():
            return
        numbers = TextColumn("{task.completed}/{task.total} {task.fields[facts]}")
        columns = (TextColumn("train"), BarColumn(), numbers, TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(file=self._stream), auto_refresh=False, transient=True)
        self._bar.start()
        self._task = self._bar.add_task("train", total=self._steps, completed=int(state.timestamp.batch), facts="")

    def batch_checkpoint(self, state: State, logger: Logger) -> None:
        """Show the batch, if enough time has passed since the last one shown; always the last."""
        record, step, now = self._ledger.record, int(state.timestamp.batch), time.monotonic()
        if record is not None:
            self._latest = record
            speed = self._counted.speed(record["tokens_per_s"])
            self._facts = f"loss {record['loss']:.4f}  lr {record['lr']:.2e}  {speed}{shares(record, self._told)}"
            if measured := heldout(record):
                self._line(f"  step {step:,}/{self._steps:,}  held-out loss: {measured}")
        if now - self._shown < (_BAR_SECONDS if self._bar else _LINE_SECONDS) and step != self._steps:
            return
        self._shown, self._told = now, self._latest
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, facts=self._facts)
            self._bar.refresh()
        else:
            self._line(f"  step {step:,}/{self._steps:,}  {self._facts}")

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            write_line(text, self._stream)

    def close(self, state: State, logger: Logger) -> None:
        """Take the bar away; what it said last is in the step's result."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
