"""Numbers as people read them: three digits, one unit, and the interval beside the value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

__all__ = [
    "between",
    "change",
    "figure",
    "flops",
    "gigabytes",
    "hours",
    "largest_parts",
    "mass",
    "percent",
    "usd",
    "work",
]

_SCALES: Final = ((1e15, "P"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_BYTES: Final = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def _digits(value: float) -> str:
    """Three digits without an exponent: `12.4`, `0.0371`, `940`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(places, 12)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(value: float, scales: tuple[tuple[float, str], ...], gap: str = "") -> tuple[str, str]:
    """Digits and unit; 999.6 thousand is 1 million, not 1000 thousand."""
    for scale, unit in scales:
        if abs(value) >= 0.9995 * scale:
            return _digits(value / scale), gap + unit
    return _digits(value), ""


def figure(value: float) -> str:
    """A count: `615M`, `40.9B`, `17.3k`."""
    return "".join(_scaled(value, _SCALES))


def usd(value: float) -> str:
    """Dollars: `$5.76`, `$324`, `$16.8k`; what is less than a cent is not free."""
    if 0 < value < 0.01:
        return "under $0.01"
    if value < 100:
        return f"${value:.2f}"
    return "$" + figure(value)


def gigabytes(value: float) -> str:
    """Bytes, decimal as memory is sold: `66.5 GB`."""
    digits, unit = _scaled(value, _BYTES, " ")
    return f"{digits}{unit or ' B'}"


def hours(value: float) -> str:
    """A length of time given in hours: `74 ms`, `24 s`, `33.2 min`, `16.2 h`, `11.3 d`."""
    seconds = value * 3600
    if 0 < seconds < 0.9995:
        return f"{_digits(seconds * 1000)} ms"
    if seconds < 119.5:
        return f"{_digits(seconds)} s"
    if seconds < 7170:
        return f"{_digits(seconds / 60)} min"
    if value < 99.95:
        return f"{_digits(value)} h"
    return f"{figure(value / 24)} d" if value < 24 * 3650 else f"{figure(value / 8766)} years"


def flops(value: float) -> str:
    """Operations: `1.51e20 FLOP`."""
    if value < 1e6:
        return f"{figure(value)} FLOP"
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)} FLOP"


def work(value: float) -> str:
    """Energy given in kWh: `430 Wh`, `43.1 kWh`, `1.2 MWh`."""
    digits, unit = _scaled(value * 1000, ((1e9, "GWh"), (1e6, "MWh"), (1e3, "kWh")), " ")
    return f"{digits}{unit or ' Wh'}"


def mass(value: float) -> str:
    """Mass given in kg: `20.3 kg`, `1.2 t`."""
    if value < 1:
        return f"{_digits(value * 1000)} g"
    return f"{_digits(value)} kg" if value < 999.5 else f"{figure(value / 1000)} t"


def percent(share: float) -> str:
    """A share: `38 %`, `0.4 %`, `< 0.1 %`."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{share * 100:.0f} %" if share >= 0.0095 or share == 0 else f"{share * 100:.1f} %"


def change(old: float, new: float) -> str:
    """What became of a number: `+12 %`, `-0.4 %`, `x 31`, `< 0.1 % less`; empty where there is no ratio."""
    if old <= 0 or new < 0 or old == new:
        return ""
    ratio = new / old
    if ratio >= 10:
        return f"x {_digits(ratio)}"
    step = abs(ratio - 1) * 100
    if step < 0.05:
        return "< 0.1 % more" if ratio > 1 else "< 0.1 % less"
    return f"{'+' if ratio > 1 else '-'}{step:.0f} %" if step >= 9.95 else f"{'+' if ratio > 1 else '-'}{step:.1f} %"


def between(low: float, high: float, show: Callable[[float], str]) -> str:
    """An interval with its unit said once where both ends share it: `12.4 to 21 h`."""
    first, last = show(low), show(high)
    number, space, unit = first.rpartition(" ")
    if space and last.endswith(f" {unit}"):
        first = number
    return f"{first} to {last}" if first != last else last


_UNSEEN: Final = 1e-4
"""Share of a sum that none of its digits shows: a line of 0.0002 ms beside half a minute."""


def largest_parts(parts: Mapping[str, float], most: int = 6, least_share: float = 0.005) -> list[tuple[str, float]]:
    """Parts of a sum, largest first; what is too small to see and too much to show comes together as `other`."""
    total = sum(parts.values())
    if total <= 0:
        return []
    ranked = sorted(((name, part) for name, part in parts.items() if part > 0), key=lambda item: -item[1])
    shown = [item for item in ranked[:most] if item[1] >= least_share * total]
    rest = ranked[len(shown) :]
    if len(rest) == 1 and (rest[0][1] > _UNSEEN * total or len(shown) < 3):  # one part has a name of its own
        return ranked
    if len(rest) == 1:  # no digit of the sum shows it: it goes with the one before it
        shown, rest = shown[:-1], ranked[len(shown) - 1 :]
    return [*shown, ("other", sum(part for _, part in rest))] if rest else shown
