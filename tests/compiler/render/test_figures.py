"""Numbers as people read them: the right digits, one unit, no surprise at the ends of the scales."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.render import figures


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figures.figure(0), "0"),
        (figures.figure(1), "1"),
        (figures.figure(999.4), "999"),
        (figures.figure(999.6), "1k"),
        (figures.figure(622_000_000), "622M"),
        (figures.figure(1_234_000_000), "1.23B"),
        (figures.usd(0), "$0.00"),
        (figures.usd(0.004), "under $0.01"),
        (figures.usd(5.756), "$5.76"),
        (figures.usd(323.6), "$324"),
        (figures.usd(16_750), "$16.8k"),
        (figures.gigabytes(64), "64 B"),
        (figures.gigabytes(66_480_000_000), "66.5 GB"),
        (figures.hours(0), "0 s"),
        (figures.hours(0.0736 / 3600), "73.6 ms"),
        (figures.hours(24 / 3600), "24 s"),
        (figures.hours(33.2 / 60), "33.2 min"),
        (figures.hours(16.2), "16.2 h"),
        (figures.hours(100), "4.17 d"),
        (figures.hours(24 * 365.25 * 40), "40 years"),
        (figures.flops(1.51e20), "1.51e20 FLOP"),
        (figures.flops(2e21), "2e21 FLOP"),
        (figures.flops(0), "0 FLOP"),
        (figures.work(0.43), "430 Wh"),
        (figures.work(90.6), "90.6 kWh"),
        (figures.work(3300), "3.3 MWh"),
        (figures.mass(0.0063), "6.3 g"),
        (figures.mass(40.8), "40.8 kg"),
        (figures.mass(1480), "1.48 t"),
        (figures.percent(0), "0 %"),
        (figures.percent(0.0004), "< 0.1 %"),
        (figures.percent(0.0042), "0.4 %"),
        (figures.percent(0.0096), "1 %"),
        (figures.percent(0.384), "38 %"),
        (figures.change(100, 112), "+12 %"),
        (figures.change(100, 99.6), "-0.4 %"),
        (figures.change(100, 100.01), "< 0.1 % more"),
        (figures.change(1, 31), "x 31"),
        (figures.change(0, 5), ""),
        (figures.change(5, 5), ""),
        (figures.between(12.4, 21, figures.hours), "12.4 to 21 h"),
        (figures.between(0.5, 21, figures.hours), "30 min to 21 h"),
        (figures.between(249, 421, figures.usd), "$249 to $421"),
        (figures.between(249, 249.1, figures.usd), "$249"),
    ],
)
def test_known_numbers(shown: str, expected: str) -> None:
    """By hand."""
    assert shown == expected


@given(st.floats(1e-3, 1e17))
def test_three_digits_are_within_half_a_percent(value: float) -> None:
    """What is printed is the value, read back with its letter."""
    text = figures.figure(value)
    scale = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "P": 1e15}.get(text[-1], 1.0)

    assert float(text.rstrip("kMBTP")) * scale == pytest.approx(value, rel=0.0051)
    assert "e" not in text or value >= 1e18


def test_a_part_that_no_digit_shows_has_no_line_of_its_own() -> None:
    """It goes with the one before it; a single small part that can be seen keeps its name, and so does one of two."""
    parts = {"start-up": 15.1, "training": 2.7, "checkpoints": 0.0205, "restarts": 2e-7}

    assert figures.largest_parts(parts, least_share=0.0005) == [
        ("start-up", 15.1),
        ("training", 2.7),
        ("other", pytest.approx(0.0205, rel=1e-3)),
    ]
    assert figures.largest_parts({**parts, "restarts": 0.004}, least_share=0.0005)[-1] == ("restarts", 0.004)
    assert figures.largest_parts({"training": 9.0, "restarts": 2e-7}) == [("training", 9.0), ("restarts", 2e-7)]


@given(st.dictionaries(st.text(st.characters(categories=["Ll"]), min_size=1), st.floats(0, 1e12), max_size=12))
def test_parts_lose_nothing(parts: dict[str, float]) -> None:
    """Taken together or not, they sum to the whole, largest first, and none is empty."""
    shown = figures.largest_parts(parts)

    assert sum(value for _, value in shown) == pytest.approx(sum(parts.values()))
    assert all(value > 0 for _, value in shown)
    named = [value for name, value in shown if name != "other"]
    assert named == sorted(named, reverse=True)
    assert len(shown) <= 8
