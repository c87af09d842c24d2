"""What a run counts: tokens or images, one or many."""

from __future__ import annotations

import pytest

from schemas.counted import COUNTED, IMAGES, TOKENS, Counted, several


@pytest.mark.parametrize(
    ("counted", "value", "amount"),
    [
        (TOKENS, 2_000_000, "2M tok"),
        (TOKENS, 1, "1 tok"),
        (IMAGES, 4864, "4.864k images"),
        (IMAGES, 1, "1 image"),
    ],
)
def test_amounts(counted: Counted, value: float, amount: str) -> None:
    """Tokens have a short form, which has no plural; images have not."""
    assert counted.amount(value) == amount


def test_speeds_numbers_and_losses() -> None:
    """Each in the run's own words."""
    assert (TOKENS.speed(13_900), IMAGES.speed(2280)) == ("13.9k tok/s", "2.28k images/s")
    assert (TOKENS.number(1), IMAGES.number(1), IMAGES.number(4864)) == ("1 token", "1 image", "4,864 images")
    assert (TOKENS.loss, IMAGES.loss) == ("nats per token", "nats per image")
    assert COUNTED == {"tokens": TOKENS, "images": IMAGES}


def test_several() -> None:
    """One is one; what has a plural of its own says it."""
    assert [several(count, "document") for count in (0, 1, 1204)] == ["0 documents", "1 document", "1,204 documents"]
    assert [several(count, "batch", "batches") for count in (1, 2)] == ["1 batch", "2 batches"]
