"""When draws come: against the places that the order really gives them."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.order.timeline import Timeline
from tests.runtime.order.phases import LENGTH, PHASES, SAMPLES, order_of


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_draws_come_within_a_sample_of_their_token(name: str) -> None:
    """Draw j of a phase begins at j / n of it; the level schedule puts it within the next N / n samples."""
    order = order_of(PHASES, SAMPLES)
    kinds = order.start().take(order.samples) // 1_000_000
    places = np.flatnonzero(kinds == sorted(SAMPLES).index(name)) * LENGTH
    tokens = Timeline.of(PHASES, name).token_of(np.arange(len(places)))
    shares = [phase.sources[name].samples for phase in PHASES if name in phase.sources]
    spacing = np.repeat([32 / count * LENGTH for count in shares], shares)
    assert (places > tokens - LENGTH).all()
    assert (places < tokens + spacing).all()


def test_a_source_that_enters_late_begins_there() -> None:
    """`math` is drawn once, in the second phase, which begins after 32 samples."""
    timeline = Timeline.of(PHASES, "math")
    assert timeline.end == 1
    assert timeline.token_of(np.array([0])).tolist() == [32 * LENGTH]


def test_a_source_that_is_never_drawn_has_no_times() -> None:
    """Asking for its draws gives the start of the run."""
    timeline = Timeline.of(PHASES, "other")
    assert timeline.end == 0
    assert timeline.token_of(np.array([0, 5])).tolist() == [0, 0]
