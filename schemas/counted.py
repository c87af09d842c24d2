"""What a run counts, tokens of text or images: its words for one, for many, and for speed. The only place that chooses them.

A plan says which by `RunPlan.counted`; screens, pages, logs and cards take their words from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from schemas.units import format_count

__all__ = ["COUNTED", "IMAGES", "TOKENS", "Counted", "Counts", "several"]

Counts = Literal["tokens", "images"]
"""The name by which a report says what it counts."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a sample is made of.

    Args:
        one, many: `token`, `tokens`.
        short: as quantities are printed, `tok`.
        held_out: what is kept from training to measure by, `text`.
    """

    one: str
    many: Counts
    short: str
    held_out: str

    def amount(self, value: float) -> str:
        """`2M tok`, `4.864k images`, `1 image`."""
        return f"{format_count(value)} {self.one if self.short == self.many and value == 1 else self.short}"

    def speed(self, value: float) -> str:
        """`13.9k tok/s`, `2.28k images/s`."""
        return f"{format_count(value)} {self.short}/s"

    def number(self, count: int) -> str:
        """`1 token`, `4,864 images`."""
        return several(count, self.one, self.many)

    @property
    def loss(self) -> str:
        """Unit of the loss."""
        return f"nats per {self.one}"


TOKENS: Final = Counted("token", "tokens", "tok", "text")
IMAGES: Final = Counted("image", "images", "images", "images")
COUNTED: Final = MappingProxyType({kind.many: kind for kind in (TOKENS, IMAGES)})


def several(count: int, one: str, many: str = "") -> str:
    """`1 document`, `1,204 documents`; `many` where it isn't `one` and an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
