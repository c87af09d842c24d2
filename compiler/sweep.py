"""One recipe, many plans: `--sweep a.b=x,y,z` compiles the product of all values and keeps what became of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from compiler.frontend.spans import segments
from compiler.pipeline import Compiled
from schemas.diagnostics import Diagnostic, Severity
from schemas.plan import RunPlan

__all__ = ["MOST_PLANS", "Axis", "Point", "SweepError", "read_axes", "sweep"]

MOST_PLANS: Final = 200
"""A table of more rows is no longer read, and takes seconds."""
_EXAMPLE: Final = "--sweep budget.inference.requests=1e6,1e8,1e10"
_OPEN: Final = {"[": "]", "{": "}"}


class SweepError(ValueError):
    """The option can't be read; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A key of the recipe and the values that it takes in turn, as they were typed."""

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One choice of values, and the plan or the first error that it led to."""

    values: tuple[str, ...]
    plan: RunPlan | None
    error: Diagnostic | None
    result: Compiled


def read_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """The axes of all `--sweep` options.

    Raises:
        SweepError: one can't be read, two set one key, or their product is too large.
    """
    axes = tuple(_axis(text) for text in texts)
    paths = [axis.path for axis in axes]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise SweepError(f"`{twice}` is swept twice; give all its values in one option: --sweep {twice}=x,y,z")
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MOST_PLANS:
        raise SweepError(f"these are {count:,} plans, and one table holds {MOST_PLANS}; give fewer values")
    return axes


def _axis(text: str) -> Axis:
    path = list(segments(text))
    end = path[-1].end if path else 0
    if not path or text[end : end + 1] != "=":
        raise SweepError(f"{text[:60]!r} is no sweep; write a key, `=` and values, such as {_EXAMPLE}")
    values = tuple(value.strip() for value in _split(text[end + 1 :]))
    if not all(values):
        raise SweepError(f"a value of `{text[:end]}` is empty; write values between commas, such as {_EXAMPLE}")
    if len(set(values)) < len(values):
        raise SweepError(f"`{text[:end]}` takes one value twice; give each once, such as {_EXAMPLE}")
    return Axis(text[:end], values)


def _split(text: str) -> list[str]:
    """Values between commas; those inside of brackets or quotes belong to a value."""
    parts, closing, quote = [""], "", ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in _OPEN:
            closing = _OPEN[char] + closing
        elif closing and char == closing[0]:
            closing = closing[1:]
        elif char == "," and not closing:
            parts.append("")
            continue
        parts[-1] += char
    return parts


def sweep(axes: Sequence[Axis], compile: Callable[[tuple[str, ...]], Compiled]) -> tuple[Point, ...]:
    """Compile every combination, the last axis fastest.

    Args:
        axes: keys and values.
        compile: turns overrides such as `budget.tokens=1B` into a plan or findings.
    """
    points = []
    for values in itertools.product(*(axis.values for axis in axes)):
        result = compile(tuple(f"{axis.path}={value}" for axis, value in zip(axes, values, strict=True)))
        error = next((finding for finding in result.findings if finding.severity is Severity.ERROR), None)
        points.append(Point(values, result.plan, error, result))
    return tuple(points)
