"""How the commands speak: text to people, JSON to programs, one place for colour, width and exit codes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from enum import IntEnum, StrEnum
from typing import Any, TextIO

from compiler.render.canvas import Look

__all__ = [
    "FORMAT_VERSION",
    "CheckFormat",
    "Exit",
    "Format",
    "PlanFormat",
    "color_of",
    "emit_json",
    "look_of",
    "mend_streams",
    "say",
    "warn",
    "width_of",
]

FORMAT_VERSION = "1.0"
"""Of all JSON output: a minor version adds keys, a major one may change them."""


class Exit(IntEnum):
    """Exit codes of all commands."""

    FINE = 0
    RECIPE = 1
    USAGE = 2
    FAILED = 3
    REFUSED = 4


class Format(StrEnum):
    """Formats of output that every command has."""

    TEXT = "text"
    JSON = "json"


class PlanFormat(StrEnum):
    """Formats of `plan`, whose sweeps can also be a table for a spreadsheet."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


class CheckFormat(StrEnum):
    """Formats of `check`, whose findings can also be annotations of a workflow."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def mend_streams() -> None:
    """Give a stream that was closed before the start (`recipec compile R >&-`) a place to write to: nowhere."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # lives as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def color_of(stream: TextIO) -> bool:
    """Colour only on a terminal, and never under NO_COLOR (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width_of(stream: TextIO) -> int:
    """Columns of the terminal; 100 where the output is a file."""
    return shutil.get_terminal_size((100, 24)).columns if stream.isatty() else 100


def look_of(stream: TextIO) -> Look:
    """What a stream can show; characters beyond ASCII only where its encoding has them all."""
    unicode = (stream.encoding or "").lower().replace("-", "").startswith("utf")
    return Look(width_of(stream), color_of(stream), unicode)


def say(text: str) -> None:
    """Print a result. Where the reader has enough (`recipec plan R | head`), the command ends here, and well."""
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still in the buffer
        raise SystemExit(Exit.FINE) from None


def warn(text: str) -> None:
    """Print what is not the result: findings, hints."""
    if text:
        _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    """A line, at once. Letters that the stream's encoding doesn't have (LC_ALL=C) are escaped."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def emit_json(value: Any) -> None:
    """Print a JSON document with a version, keys in a fixed order."""
    say(json.dumps({"format_version": FORMAT_VERSION, **value}, indent=2, sort_keys=True, allow_nan=False))
