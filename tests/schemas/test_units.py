"""Quantities: what is read, what is refused, and how they are printed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas import units
from schemas.base import Fraction

READ: list[tuple[Any, Any, float]] = [
    (units.Count, "1.3B", 1_300_000_000),
    (units.Count, "125M params", 125_000_000),
    (units.Count, 7e9, 7_000_000_000),
    (units.Tokens, "300B tok", 300_000_000_000),
    (units.Tokens, "2M tok", 2_000_000),
    (units.Tokens, "0.5M tokens", 500_000),
    (units.Tokens, "1e9", 1_000_000_000),
    (units.Tokens, "1_000", 1000),
    (units.Flops, "1e22 FLOP", 1e22),
    (units.Usd, "$60k", 60_000),
    (units.Usd, "1.5M USD", 1_500_000),
    (units.GpuHourPrice, "$2.10/gpu-hour", 2.10),
    (units.GpuHourPrice, "3/h", 3),
    (units.Seconds, "36h", 129_600),
    (units.Seconds, "90min", 5400),
    (units.Bytes, "80GB", 80_000_000_000),
    (units.Bytes, "16GiB", 17_179_869_184),
    (units.Bandwidth, "3.35TB/s", 3.35e12),
    (units.Bandwidth, "400Gb/s", 50e9),
    (units.Bandwidth, "25 Gbit/s", 3.125e9),
    (units.Bandwidth, 2e9, 2e9),
    (units.FlopRate, "989TFLOP/s", 989e12),
    (units.FlopRate, "1.98 PFLOP/s", 1.98e15),
    (units.Watts, "700W", 700),
    (units.Watts, "1.2kW", 1200),
    (units.CarbonIntensity, "0.48kg/kWh", 480),
    (units.CarbonIntensity, "56 gCO2e/kWh", 56),
]

_TOO_LARGE = {"9" * 400, "1e99"}
"""Texts of more than 63 characters and exponents above 40 are refused at once; a pattern need not say it."""

REFUSED: list[tuple[Any, Any]] = [
    (units.Tokens, "8h"),
    (units.Tokens, "$60k"),
    (units.Tokens, "-1B tok"),
    (units.Tokens, True),
    (units.Tokens, float("nan")),
    (units.Tokens, float("inf")),
    (units.Tokens, "1e99"),
    (units.Tokens, "9" * 400),
    (units.Count, "7 Billionen"),
    (units.Flops, "300B tok"),
    (units.Usd, "60k EUR"),
    (units.GpuHourPrice, "$2.10/month"),
    (units.Seconds, "36 gpu"),
    (units.Seconds, 36),
    (units.Bytes, "80 tok"),
    (units.Bandwidth, "25GB"),
    (units.Bandwidth, "-1GB/s"),
    (units.FlopRate, "989TFLOP"),
    (units.FlopRate, "989 TB/s"),
    (units.Watts, "700 kWh"),
    (units.CarbonIntensity, "480 g"),
    (units.TrainingTime, "10"),
    (units.TrainingTime, 10),
    (units.TrainingTime, "1.5dur"),
    (units.TrainingTime, "-3ba"),
    (units.TrainingTime, "1e999tok"),
    (units.Tokens, "\u0663M tok"),  # digits of other scripts
    (units.TrainingTime, "\uff11ba"),
    (Fraction, "\u0663%"),
    (Fraction, "-1%"),
    (Fraction, "nan%"),
]


@pytest.mark.parametrize(("kind", "text", "value"), READ, ids=lambda v: str(v)[:20])
def test_quantities_are_read_exactly(kind: Any, text: Any, value: float) -> None:
    """A decimal with a suffix loses nothing to floating point."""
    assert TypeAdapter(kind).validate_python(text) == value


@pytest.mark.parametrize(("kind", "text"), REFUSED, ids=lambda v: str(v)[:20])
def test_wrong_quantities_are_refused(kind: Any, text: Any) -> None:
    """The unit of another quantity, negative, absurd or non-finite numbers."""
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, text, *_ in [*READ, *REFUSED]], ids=lambda v: str(v)[:20]
)
def test_editors_are_told_the_same_units(kind: Any, text: Any) -> None:
    """The JSON Schema takes a text exactly where the parser does, but for how large a number is."""
    if not isinstance(text, str):
        return
    adapter = TypeAdapter(kind)
    patterns = [choice["pattern"] for choice in adapter.json_schema()["anyOf"] if choice["type"] == "string"]
    try:
        adapter.validate_python(text)
        is_read = True
    except ValidationError as error:
        is_read = error.errors()[0]["type"] == "quantity_range"
    assert any(re.search(pattern, text) for pattern in patterns) == is_read or text in _TOO_LARGE


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [("10ba", 10, "ba"), ("1.3e9tok", 1.3e9, "tok"), ("2ep", 2, "ep"), ("0.8dur", 0.8, "dur")],
)
def test_composer_time_strings(text: str, value: float, unit: str) -> None:
    """Composer's own spelling, and back to text."""
    time = units.parse_time(text)

    assert time == (value, unit)
    assert units.parse_time(str(time)) == time


@given(st.integers(0, 10**15))
def test_format_and_parse_agree(value: int) -> None:
    """What is printed can be read again, within the four digits printed."""
    read = TypeAdapter(units.Tokens).validate_python(units.format_tokens(value))

    assert read == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(
    ("value", "text"), [(30, "30 s"), (5400, "90 min"), (129_600, "36 h"), (864_000, "10 d"), (0, "0 s")]
)
def test_times_are_printed_in_the_unit_that_people_use(value: float, text: str) -> None:
    """Seconds, minutes, hours, days."""
    assert units.format_seconds(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (units.format_bytes(0), "0 B"),
        (units.format_bytes(999), "999 B"),
        (units.format_bytes(80e9), "80 GB"),
    ],
)
def test_amounts_are_printed_in_the_largest_unit_that_they_fill(text: str, shown: str) -> None:
    """Nothing and next to nothing, too."""
    assert text == shown
