"""How text of a number and its unit is read: patterns, parsers made of them, and what editors are told."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction as Rational
from typing import Any, Final

from pydantic import WithJsonSchema
from pydantic_core import PydanticCustomError

__all__ = ["NUMBER", "SCALE", "exact", "fail", "scaled", "scaled_pattern", "schema", "table", "table_pattern", "whole"]

SCALE: Final = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12, "P": 10**15}
# Not \d, which takes the digits of every script. Exponents of two digits: exact sums with 1e-999999999 would take gigabytes.
NUMBER: Final = r"(?P<number>[+-]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)"
# No quantity of this field is beyond this, and floats stay exact far enough below it.
_LARGEST: Final = 10**30


def fail(kind: str, got: object, examples: str) -> PydanticCustomError:
    """The error that names what was expected, with examples, and what stands there."""
    shown = repr(got) if len(repr(got)) < 60 else repr(got)[:57] + "..."
    return PydanticCustomError(
        "quantity",
        "{kind} is expected here, such as {examples}; found {got}",
        {"kind": kind, "examples": examples, "got": shown},
    )


def exact(number: str, scale: int) -> int | float:
    """`1.3` x 10**9 without a float's rounding: quantities of tokens must add up to the last one."""
    value = Rational(number.replace("_", "")) * scale
    return int(value) if value.denominator == 1 else float(value)


def _plain(value: Any) -> int | float | None:
    """A bare YAML number, or None if the value is something else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if math.isfinite(value) else None
    return None


def _checked(value: int | float, raw: object, kind: str, examples: str) -> int | float:
    if not 0 <= value <= _LARGEST:
        raise PydanticCustomError(
            "quantity_range",
            "{kind} must lie between 0 and 1e30; found {got}",
            {"kind": kind, "got": str(raw)[:60], "examples": examples},
        )
    return value


def scaled_pattern(units: str, *, prefix: str = "") -> str:
    """`<prefix><number><k|M|B|T> <unit>`; the unit may be left out, another one may not."""
    return rf"^\s*{prefix}{NUMBER}\s*(?P<scale>[kKMGBTP]?)\s*(?:{units})?\s*$"


def table_pattern(units: dict[str, int]) -> str:
    """`<number><unit>` with a unit of the table."""
    return rf"^\s*{NUMBER}\s*(?P<unit>{'|'.join(sorted(units, key=len, reverse=True))})\s*$"


def scaled(kind: str, text: str, examples: str) -> Callable[[Any], int | float]:
    """A parser of a number, or of text of a `scaled_pattern`."""
    pattern = re.compile(text)

    def parse(value: Any) -> int | float:
        number = _plain(value)
        if number is None:
            match = pattern.match(value) if isinstance(value, str) and len(value) < 64 else None
            if match is None or (
                "e" in match["number"].lower() and abs(int(match["number"].lower().split("e")[1])) > 40
            ):
                raise fail(kind, value, examples)
            number = exact(match["number"], SCALE[match["scale"]])
        return _checked(number, value, kind, examples)

    return parse


def whole(parse: Callable[[Any], int | float]) -> Callable[[Any], int]:
    """The same parser, rounded to whole numbers."""

    def rounded(value: Any) -> int:
        return round(parse(value))

    return rounded


def table(kind: str, units: dict[str, int], examples: str, *, bare: bool = True) -> Callable[[Any], int | float]:
    """A parser of `<number><unit>` whose unit must be one of a table; a `bare` number is in the table's base unit."""
    pattern = re.compile(table_pattern(units))

    def parse(value: Any) -> int | float:
        number = _plain(value)
        if number is not None and number > 0 and not bare:
            raise fail(kind, value, examples)
        if number is None:
            match = pattern.match(value) if isinstance(value, str) and len(value) < 64 else None
            if match is None or abs(float(match["number"].replace("_", ""))) > 1e30:
                raise fail(kind, value, examples)
            number = exact(match["number"], units[match["unit"]])
        return _checked(number, value, kind, examples)

    return parse


def schema(examples: list[Any], pattern: str, *, description: str, numbers: bool = True) -> WithJsonSchema:
    """What editors are told; the pattern without its groups' names, which JavaScript spells otherwise."""
    kinds: list[dict[str, Any]] = [{"type": "string", "pattern": re.sub(r"\(\?P<\w+>", "(", pattern)}]
    if numbers:
        kinds.insert(0, {"type": "number", "minimum": 0})
    return WithJsonSchema({"anyOf": kinds, "examples": examples, "description": description})
