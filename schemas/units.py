"""Quantities with units: how a recipe writes them (`7B`, `300B tok`, `$2.10/gpu-hour`, `0.8dur`) and how they are printed.

A quantity is parsed once, at the edge, into a plain number whose unit stands in its name (`x_bytes`, `x_seconds`, `tokens`,
`usd`). No guess is made: a number with the unit of another quantity (`8h` for a budget of tokens) is an error that names
both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction as Rational
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

__all__ = [
    "Bandwidth",
    "Bytes",
    "CarbonIntensity",
    "Count",
    "FlopRate",
    "Flops",
    "GpuHourPrice",
    "Seconds",
    "Time",
    "TimeUnit",
    "Tokens",
    "TrainingTime",
    "Usd",
    "Watts",
    "format_bytes",
    "format_count",
    "format_seconds",
    "format_tokens",
    "format_usd",
    "parse_time",
]

_SCALE: Final = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12, "P": 10**15}
# Not \d, which takes the digits of every script. Exponents of two digits: exact sums with 1e-999999999 would take gigabytes.
_NUMBER: Final = r"(?P<number>[+-]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)"
_SECONDS: Final = {
    "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
}  # fmt: skip
_BYTES: Final = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50,
}  # fmt: skip
# Networks are sold in bits per second, links and memories in bytes.
_BANDWIDTH: Final = {
    "B/s": 1, "kB/s": 10**3, "MB/s": 10**6, "GB/s": 10**9, "TB/s": 10**12,
    "GiB/s": 2**30, "TiB/s": 2**40,
    "Mb/s": 125 * 10**3, "Gb/s": 125 * 10**6, "Tb/s": 125 * 10**9,
    "Mbit/s": 125 * 10**3, "Gbit/s": 125 * 10**6, "Tbit/s": 125 * 10**9,
    "Mbps": 125 * 10**3, "Gbps": 125 * 10**6, "Tbps": 125 * 10**9,
}  # fmt: skip
_FLOP_RATE: Final = {
    "FLOP/s": 1, "GFLOP/s": 10**9, "TFLOP/s": 10**12, "PFLOP/s": 10**15,
    "GFLOPS": 10**9, "TFLOPS": 10**12, "PFLOPS": 10**15,
}  # fmt: skip
_WATTS: Final = {"W": 1, "kW": 10**3}
_CARBON: Final = {"g/kWh": 1, "kg/kWh": 10**3, "gCO2/kWh": 1, "kgCO2/kWh": 10**3, "gCO2e/kWh": 1, "kgCO2e/kWh": 10**3}
# No quantity of this field is beyond this, and floats stay exact far enough below it.
_LARGEST: Final = 10**30

TimeUnit = Literal["tok", "ba", "sp", "ep", "dur"]


class Time(NamedTuple):
    """A point or a length of training as Composer writes it: `10ba`, `1e9tok`, `2ep`, `0.8dur`."""

    value: float
    unit: TimeUnit

    def __str__(self) -> str:
        number = f"{self.value:.12g}"
        return f"{number}{self.unit}"


def _fail(kind: str, got: object, examples: str) -> PydanticCustomError:
    shown = repr(got) if len(repr(got)) < 60 else repr(got)[:57] + "..."
    return PydanticCustomError(
        "quantity",
        "{kind} is expected here, such as {examples}; found {got}",
        {"kind": kind, "examples": examples, "got": shown},
    )


def _exact(number: str, scale: int) -> int | float:
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


def _scaled_pattern(units: str, *, prefix: str = "") -> str:
    """`<prefix><number><k|M|B|T> <unit>`; the unit may be left out, another one may not."""
    return rf"^\s*{prefix}{_NUMBER}\s*(?P<scale>[kKMGBTP]?)\s*(?:{units})?\s*$"


def _table_pattern(table: dict[str, int]) -> str:
    """`<number><unit>` with a unit of the table."""
    return rf"^\s*{_NUMBER}\s*(?P<unit>{'|'.join(sorted(table, key=len, reverse=True))})\s*$"


def _scaled(kind: str, text: str, examples: str) -> Callable[[Any], int | float]:
    """A parser of a number, or of text of a `_scaled_pattern`."""
    pattern = re.compile(text)

    def parse(value: Any) -> int | float:
        number = _plain(value)
        if number is None:
            match = pattern.match(value) if isinstance(value, str) and len(value) < 64 else None
            if match is None or (
                "e" in match["number"].lower() and abs(int(match["number"].lower().split("e")[1])) > 40
            ):
                raise _fail(kind, value, examples)
            number = _exact(match["number"], _SCALE[match["scale"]])
        return _checked(number, value, kind, examples)

    return parse


def _whole(parse: Callable[[Any], int | float]) -> Callable[[Any], int]:
    def whole(value: Any) -> int:
        return round(parse(value))

    return whole


def _table(kind: str, table: dict[str, int], examples: str, *, bare: bool = True) -> Callable[[Any], int | float]:
    """A parser of `<number><unit>` whose unit must be one of a table; a `bare` number is in the table's base unit."""
    pattern = re.compile(_table_pattern(table))

    def parse(value: Any) -> int | float:
        number = _plain(value)
        if number is not None and number > 0 and not bare:
            raise _fail(kind, value, examples)
        if number is None:
            match = pattern.match(value) if isinstance(value, str) and len(value) < 64 else None
            if match is None or abs(float(match["number"].replace("_", ""))) > 1e30:
                raise _fail(kind, value, examples)
            number = _exact(match["number"], table[match["unit"]])
        return _checked(number, value, kind, examples)

    return parse


_TIME: Final = re.compile(rf"^\s*{_NUMBER}\s*(?P<scale>[kKMGBT]?)\s*(?P<unit>tok|ba|sp|ep|dur)\s*$")
_TIME_EXAMPLES: Final = "1e9tok, 2000ba, 2ep or 0.8dur"


def parse_time(value: Any) -> Time:
    """Read a Composer time string.

    Raises:
        PydanticCustomError: it is none, or it is negative, or a `dur` above 1.
    """
    if isinstance(value, Time):
        return value
    match = _TIME.match(value) if isinstance(value, str) and len(value) < 64 else None
    if match is None or abs(float(match["number"].replace("_", ""))) > 1e30:
        raise _fail("a time of training", value, _TIME_EXAMPLES)
    number = _exact(match["number"], _SCALE[match["scale"]])
    unit = match["unit"]
    if number < 0 or (unit == "dur" and number > 1):
        raise PydanticCustomError(
            "quantity_range",
            "{kind} must not be negative, and a `dur` is a share of the whole run, from 0dur to 1dur; found {got}",
            {"kind": "a time of training", "got": value, "examples": _TIME_EXAMPLES},
        )
    return Time(float(number), unit)  # type: ignore[arg-type]  # the pattern admits only these units


def _schema(examples: list[Any], pattern: str, *, description: str, numbers: bool = True) -> WithJsonSchema:
    """What editors are told; the pattern without its groups' names, which JavaScript spells otherwise."""
    kinds: list[dict[str, Any]] = [{"type": "string", "pattern": re.sub(r"\(\?P<\w+>", "(", pattern)}]
    if numbers:
        kinds.insert(0, {"type": "number", "minimum": 0})
    return WithJsonSchema({"anyOf": kinds, "examples": examples, "description": description})


_COUNT: Final = _scaled_pattern("params?|parameters")
_TOKENS: Final = _scaled_pattern("tok|tokens?")
_FLOPS: Final = _scaled_pattern("FLOPs?|flops?")
_USD: Final = _scaled_pattern("USD|usd", prefix=r"\$?\s*")
_PRICE: Final = _scaled_pattern(r"/\s*(?:gpu-?)?(?:hour|hr|h)", prefix=r"\$?\s*")

Count = Annotated[
    int,
    BeforeValidator(_whole(_scaled("a number of parameters or things", _COUNT, "7B, 1.3e9 or 125M"))),
    _schema(["1.3B", "125M", 7_000_000_000], _COUNT, description="A count: a number, or one with k, M, B or T."),
]
Tokens = Annotated[
    int,
    BeforeValidator(_whole(_scaled("a number of tokens", _TOKENS, "300B tok, 2M tok or 1e9"))),
    _schema(
        ["300B tok", "2M tok", 1_000_000_000],
        _TOKENS,
        description="Tokens: a number, or one with k, M, B or T and `tok`.",
    ),
]
Flops = Annotated[
    float,
    BeforeValidator(_scaled("a number of floating-point operations", _FLOPS, "1e22 FLOP")),
    _schema(["1e22 FLOP", 1e20], _FLOPS, description="Floating-point operations."),
]
Usd = Annotated[
    float,
    BeforeValidator(_scaled("a sum of money in US dollars", _USD, "$60k, $1.5M or 60000")),
    _schema(["$60k", "$1.5M", 60_000], _USD, description="US dollars."),
]
GpuHourPrice = Annotated[
    float,
    BeforeValidator(_scaled("a price per GPU and hour", _PRICE, "$2.10/gpu-hour")),
    _schema(["$2.10/gpu-hour", 2.1], _PRICE, description="US dollars per GPU and hour."),
]
Seconds = Annotated[
    float,
    # `max_hours: 36` would be 36 of what? Hours for whoever wrote it, seconds for most programs.
    BeforeValidator(_table("a length of time", _SECONDS, "36h, 90min, 3d or 3600s", bare=False)),
    _schema(
        ["36h", "90min", "3d"],
        _table_pattern(_SECONDS),
        description="A length of wall-clock time, with its unit.",
        numbers=False,
    ),
]
Bytes = Annotated[
    int,
    BeforeValidator(_whole(_table("an amount of bytes", _BYTES, "80GB, 512MB or 16GiB"))),
    _schema(["80GB", "512MB", "16GiB"], _table_pattern(_BYTES), description="Bytes; a bare number is bytes."),
]
Bandwidth = Annotated[
    float,
    BeforeValidator(_table("bytes or bits per second", _BANDWIDTH, "3.35TB/s, 450GB/s or 400Gb/s")),
    _schema(
        ["3.35TB/s", "450GB/s", "400Gb/s"],
        _table_pattern(_BANDWIDTH),
        description="Bytes (B/s) or bits (b/s) per second; a bare number is bytes per second.",
    ),
]
FlopRate = Annotated[
    float,
    BeforeValidator(_table("floating-point operations per second", _FLOP_RATE, "989TFLOP/s or 1.98PFLOP/s")),
    _schema(
        ["989TFLOP/s", "1.98PFLOP/s"],
        _table_pattern(_FLOP_RATE),
        description="Floating-point operations per second.",
    ),
]
Watts = Annotated[
    float,
    BeforeValidator(_table("a power", _WATTS, "700W or 1.2kW")),
    _schema(["700W", "1.2kW"], _table_pattern(_WATTS), description="Power; a bare number is watts."),
]
CarbonIntensity = Annotated[
    float,
    BeforeValidator(_table("CO2 per energy", _CARBON, "0.48kg/kWh or 56g/kWh")),
    _schema(
        ["0.48kg/kWh", "56g/kWh"],
        _table_pattern(_CARBON),
        description="CO2 equivalents of a kilowatt-hour; a bare number is grams.",
    ),
]
TrainingTime = Annotated[
    Time,
    BeforeValidator(parse_time),
    _schema(
        ["0.8dur", "2000ba", "1e9tok"],
        _TIME.pattern,
        numbers=False,
        description="Composer's time string: tok (tokens), ba (batches), sp (samples), ep (epochs), dur (share of the run).",
    ),
]
"""A point or a length of training; kept as written, resolved to tokens by the passes."""


def _short(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    """Four digits in the largest unit that the value fills; in the last one if it fills none."""
    scale, suffix = next((step for step in steps if abs(value) >= step[0] * 0.9995), steps[-1])
    return f"{value / scale:.4g}{suffix}"


_DECIMAL: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"), (1, ""))


def format_count(value: float) -> str:
    """`1300000000` -> `1.3B`."""
    return _short(value, _DECIMAL)


def format_tokens(value: float) -> str:
    """`2000000` -> `2M tok`."""
    return f"{format_count(value)} tok"


def format_usd(value: float) -> str:
    """`60000` -> `$60k`; cents below a thousand dollars."""
    return f"${value:.2f}" if value < 1000 else f"${_short(value, _DECIMAL)}"


def format_bytes(value: float) -> str:
    """`80e9` -> `80 GB` (decimal, as GPU memory is sold)."""
    return _short(value, ((1e15, " PB"), (1e12, " TB"), (1e9, " GB"), (1e6, " MB"), (1e3, " kB"), (1, " B")))


def format_seconds(value: float) -> str:
    """`129600` -> `36 h`; seconds below two minutes, days above 100 hours."""
    if value < 120:
        return f"{value:.3g} s"
    if value < 7200:
        return f"{value / 60:.3g} min"
    if value < 360_000:
        return f"{value / 3600:.3g} h"
    return f"{value / 86400:.4g} d"
