"""Reads a user's own runs (parameters, tokens, loss) from CSV, for the fit of a scaling law."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = ["LEAST_RUNS", "MAX_BYTES", "MOST_RUNS", "Fault", "Runs", "enough", "read_runs"]

MAX_BYTES: Final = 4_000_000  # bytes
"""A larger file is no list of training runs."""

LEAST_RUNS: Final = 8
"""Five constants need more than five runs; below eight the bootstrap's interval says nothing."""

MOST_RUNS: Final = 1_000
"""More than anybody has made; points of loss curves are no runs, and depend on each other."""

_ALIASES: Final = MappingProxyType(
    {
        "parameters": ("parameters", "n", "params", "n_params", "num_parameters", "model_size"),
        "tokens": ("tokens", "d", "n_tokens", "num_tokens", "training_tokens"),
        "loss": ("loss", "l", "final_loss", "eval_loss", "val_loss"),
    }
)


class Fault(NamedTuple):
    """Why a file of runs can't be used: its line (1 is the header), what is wrong, and what to write."""

    line: int
    message: str
    help: str


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of one data set and tokenizer, sorted, so that the order of lines changes nothing.

    Args:
        rows: (parameters, tokens, loss in nats per token) of each run.
        sha256: of the file's bytes.
    """

    rows: tuple[tuple[float, float, float], ...]
    sha256: str

    def below(self, max_tokens_per_parameter: float) -> Runs:
        """The runs of at most so many tokens per parameter."""
        kept = tuple(row for row in self.rows if row[1] / row[0] <= max_tokens_per_parameter)
        return Runs(kept, self.sha256)


def read_runs(content: bytes) -> tuple[Runs, tuple[Fault, ...]]:
    """The runs of a CSV file, and everything that is wrong with it.

    Columns are `parameters`, `tokens` and `loss` (or N, D and L, whatever their case and order); others are ignored.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Runs((), ""), (Fault(1, "the file is not UTF-8 text", "save it as CSV in UTF-8"),)
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        return Runs((), ""), (
            Fault(reader.line_num, f"not CSV: {error}", "write one run a line, cells parted by commas"),
        )
    if not lines:
        return Runs((), ""), (Fault(1, "the file is empty", "begin it with the line `parameters,tokens,loss`"),)
    columns, faults = _columns(*lines[0])
    rows = []
    for line, cells in lines[1:] if not faults else ():
        n, d, loss = (_cell(cells, columns[name], name, line, faults) for name in _ALIASES)
        if n is not None and d is not None and loss is not None:
            rows.append((n, d, loss))
    return Runs(tuple(sorted(rows)), hashlib.sha256(content).hexdigest()), tuple(faults)


def enough(runs: Runs) -> str:
    """Why five constants can't be had from these runs, or nothing."""
    sizes, lengths = ({row[i] for row in runs.rows} for i in (0, 1))
    if len(runs.rows) < LEAST_RUNS:
        return f"{len(runs.rows)} runs are too few: five constants need at least {LEAST_RUNS}"
    if len(runs.rows) > MOST_RUNS:
        return f"{len(runs.rows):,} runs are too many: a list of finished runs has at most {MOST_RUNS:,}"
    if len(sizes) < 3 or len(lengths) < 3:
        return f"{len(sizes)} sizes and {len(lengths)} numbers of tokens can't tell the two terms apart: 3 of each are needed"
    return ""


def _columns(line: int, header: list[str]) -> tuple[dict[str, int], list[Fault]]:
    names = [cell.strip().lower() for cell in header]
    other = next((mark for mark in (";", "\t", "|") if len(names) == 1 and mark in names[0]), None)
    if other is not None:
        said = "a tab" if other == "\t" else f"`{other}`"
        return {}, [Fault(line, f"cells are parted by {said}, not by commas", "save it with `,` between the cells")]
    found: dict[str, int] = {}
    faults = []
    for column, aliases in _ALIASES.items():
        places = [i for i, name in enumerate(names) if name in aliases]
        if len(places) == 1:
            found[column] = places[0]
        else:
            count = "no" if not places else "more than one"
            shown = ", ".join(names)[:80]
            faults.append(
                Fault(
                    line, f"the header ({shown}) has {count} column `{column}`", "begin with `parameters,tokens,loss`"
                )
            )
    return found, faults


def _cell(cells: list[str], column: int, name: str, line: int, faults: list[Fault]) -> float | None:
    """A positive number, or a fault."""
    text = cells[column].strip() if column < len(cells) else ""
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        value = math.nan
    most = 100.0 if name == "loss" else 1e20
    if not 0 < value <= most:
        faults.append(Fault(line, f"`{name}` is {text[:40] or 'missing'!r}, not a number above 0 and up to {most:g}",
                            f"write a plain number such as {'2.53' if name == 'loss' else '1.3e9'}"))  # fmt: skip
        return None
    return value
