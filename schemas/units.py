"""Quantities with units: how a recipe writes them (`7B`, `300B tok`, `$2.10/gpu-hour`, `0.8dur`) and how they are printed.

A quantity is parsed once, at the edge, into a plain number whose unit stands in its name (`x_bytes`, `x_seconds`, `tokens`,
`usd`). No guess is made: a number with the unit of another quantity (`8h` for a budget of tokens) is an error that names
both.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from schemas.parsing import NUMBER, SCALE, exact, fail, scaled, scaled_pattern, schema, table, table_pattern, whole

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

TimeUnit = Literal["tok", "ba", "sp", "ep", "dur"]


class Time(NamedTuple):
    """A point or a length of training as Composer writes it: `10ba`, `1e9tok`, `2ep`, `0.8dur`."""

    value: float
    unit: TimeUnit

    def __str__(self) -> str:
        number = f"{self.value:.12g}"
        return f"{number}{self.unit}"


_TIME: Final = re.compile(rf"^\s*{NUMBER}\s*(?P<scale>[kKMGBT]?)\s*(?P<unit>tok|ba|sp|ep|dur)\s*$")
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
        raise fail("a time of training", value, _TIME_EXAMPLES)
    number = exact(match["number"], SCALE[match["scale"]])
    unit = match["unit"]
    if number < 0 or (unit == "dur" and number > 1):
        raise PydanticCustomError(
            "quantity_range",
            "{kind} must not be negative, and a `dur` is a share of the whole run, from 0dur to 1dur; found {got}",
            {"kind": "a time of training", "got": value, "examples": _TIME_EXAMPLES},
        )
    return Time(float(number), unit)  # type: ignore[arg-type]  # the pattern admits only these units


_COUNT: Final = scaled_pattern("params?|parameters")
_TOKENS: Final = scaled_pattern("tok|tokens?")
_FLOPS: Final = scaled_pattern("FLOPs?|flops?")
_USD: Final = scaled_pattern("USD|usd", prefix=r"\$?\s*")
_PRICE: Final = scaled_pattern(r"/\s*(?:gpu-?)?(?:hour|hr|h)", prefix=r"\$?\s*")

Count = Annotated[
    int,
    BeforeValidator(whole(scaled("a number of parameters or things", _COUNT, "7B, 1.3e9 or 125M"))),
    schema(["1.3B", "125M", 7_000_000_000], _COUNT, description="A count: a number, or one with k, M, B or T."),
]
Tokens = Annotated[
    int,
    BeforeValidator(whole(scaled("a number of tokens", _TOKENS, "300B tok, 2M tok or 1e9"))),
    schema(
        ["300B tok", "2M tok", 1_000_000_000],
        _TOKENS,
        description="Tokens: a number, or one with k, M, B or T and `tok`.",
    ),
]
Flops = Annotated[
    float,
    BeforeValidator(scaled("a number of floating-point operations", _FLOPS, "1e22 FLOP")),
    schema(["1e22 FLOP", 1e20], _FLOPS, description="Floating-point operations."),
]
Usd = Annotated[
    float,
    BeforeValidator(scaled("a sum of money in US dollars", _USD, "$60k, $1.5M or 60000")),
    schema(["$60k", "$1.5M", 60_000], _USD, description="US dollars."),
]
GpuHourPrice = Annotated[
    float,
    BeforeValidator(scaled("a price per GPU and hour", _PRICE, "$2.10/gpu-hour")),
    schema(["$2.10/gpu-hour", 2.1], _PRICE, description="US dollars per GPU and hour."),
]
Seconds = Annotated[
    float,
    # `max_hours: 36` would be 36 of what? Hours for whoever wrote it, seconds for most programs.
    BeforeValidator(table("a length of time", _SECONDS, "36h, 90min, 3d or 3600s", bare=False)),
    schema(
        ["36h", "90min", "3d"],
        table_pattern(_SECONDS),
        description="A length of wall-clock time, with its unit.",
        numbers=False,
    ),
]
Bytes = Annotated[
    int,
    BeforeValidator(whole(table("an amount of bytes", _BYTES, "80GB, 512MB or 16GiB"))),
    schema(["80GB", "512MB", "16GiB"], table_pattern(_BYTES), description="Bytes; a bare number is bytes."),
]
Bandwidth = Annotated[
    float,
    BeforeValidator(table("bytes or bits per second", _BANDWIDTH, "3.35TB/s, 450GB/s or 400Gb/s")),
    schema(
        ["3.35TB/s", "450GB/s", "400Gb/s"],
        table_pattern(_BANDWIDTH),
        description="Bytes (B/s) or bits (b/s) per second; a bare number is bytes per second.",
    ),
]
FlopRate = Annotated[
    float,
    BeforeValidator(table("floating-point operations per second", _FLOP_RATE, "989TFLOP/s or 1.98PFLOP/s")),
    schema(
        ["989TFLOP/s", "1.98PFLOP/s"],
        table_pattern(_FLOP_RATE),
        description="Floating-point operations per second.",
    ),
]
Watts = Annotated[
    float,
    BeforeValidator(table("a power", _WATTS, "700W or 1.2kW")),
    schema(["700W", "1.2kW"], table_pattern(_WATTS), description="Power; a bare number is watts."),
]
CarbonIntensity = Annotated[
    float,
    BeforeValidator(table("CO2 per energy", _CARBON, "0.48kg/kWh or 56g/kWh")),
    schema(
        ["0.48kg/kWh", "56g/kWh"],
        table_pattern(_CARBON),
        description="CO2 equivalents of a kilowatt-hour; a bare number is grams.",
    ),
]
TrainingTime = Annotated[
    Time,
    BeforeValidator(parse_time),
    schema(
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
