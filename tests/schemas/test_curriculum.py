"""Pacing: the papers' formulas at known points, growth from start to 1, and knobs that are refused where nothing reads them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.curriculum import Curriculum, CurriculumPlan, Pacing, competence

END = 1000
PACINGS: tuple[Pacing, ...] = ("linear", "sqrt", "root", "exponential", "two_stage", "step")


def decided(said: Curriculum, end_token: int = END) -> CurriculumPlan:
    """The plan of a curriculum that ends at a token."""
    return CurriculumPlan(
        metric=said.by, model=None, order=said.order, pacing=said.pacing, start=said.start, end_token=end_token,
        power=said.decided_power, growth=said.decided_growth, stages=said.decided_stages, buckets=said.buckets,
        scope="source",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pacing", "expected"),
    [
        ("sqrt", [0.01, 0.31637, 0.500075, 0.707142, 0.86604, 1.0]),
        ("linear", [0.01, 0.109, 0.2575, 0.505, 0.7525, 1.0]),
    ],
)
def test_competence_is_that_of_platanios(pacing: Pacing, expected: list[float]) -> None:
    """Equations 6 and 7 at c0 = 0.01, T = 1000."""
    plan = decided(Curriculum(by="length", pacing=pacing))
    found = [competence(plan, token) for token in (0, 100, 250, 500, 750, 1000)]

    assert found == pytest.approx(expected, abs=5e-6)


def test_exponential_pacing_is_that_of_hacohen_and_weinshall() -> None:
    """Their p0 = 0.04 and increase of 1.9 take six stages, and reach 1 in the seventh."""
    said = Curriculum(by="length", pacing="exponential", start=0.04)
    plan = decided(said, end_token=600)

    assert said.decided_stages == 6
    expected = [0.04, 0.076, 0.1444, 0.27436, 0.521284, 0.99044, 1.0]
    assert [competence(plan, 100 * i) for i in range(7)] == pytest.approx(expected, abs=1e-5)
    assert [competence(plan, 100 * i + 99) for i in range(6)] == pytest.approx(expected[:6], abs=1e-5)


def test_two_stages_and_stairs() -> None:
    """The easy share, then all; or equal stairs of equal length."""
    two = decided(Curriculum(by="length", pacing="two_stage", start=0.25))
    stairs = decided(Curriculum(by="length", pacing="step", start=0.2, stages=4))

    assert [competence(two, token) for token in (0, 999, 1000)] == [0.25, 0.25, 1.0]
    assert [competence(stairs, token) for token in (0, 249, 250, 500, 750, 999, 1000)] == pytest.approx(
        [0.2, 0.2, 0.4, 0.6, 0.8, 0.8, 1.0]
    )


def test_a_root_of_two_is_the_square_root() -> None:
    """And of one the line; by default it is the third."""
    plans = {p: decided(Curriculum(by="length", pacing="root", power=p)) for p in (1.0, 2.0, 3.0)}
    for power, same in ((1.0, "linear"), (2.0, "sqrt"), (3.0, "root")):
        other = decided(Curriculum.model_validate({"by": "length", "pacing": same}))
        assert [competence(plans[power], t) for t in (0, 10, 700)] == [competence(other, t) for t in (0, 10, 700)]


@given(
    st.sampled_from(PACINGS),
    st.floats(0.001, 1.0),
    st.integers(1, 10**15),
    st.lists(st.floats(0, 1.2), min_size=2, max_size=20),
)
def test_competence_grows_from_start_to_one(pacing: Pacing, start: float, end: int, shares: list[float]) -> None:
    """Never less than before, never more than everything, and everything at the end."""
    plan = decided(Curriculum(by="length", pacing=pacing, start=start), end)
    tokens = sorted(int(share * end) for share in shares)
    found = [competence(plan, token) for token in tokens]

    assert competence(plan, 0) == pytest.approx(start)
    assert competence(plan, end) == competence(plan, 2 * end) == 1.0
    assert all(start - 1e-12 <= value <= 1.0 for value in found)
    assert all(late >= early for early, late in pairwise(found))


@given(st.floats(0.001, 1.0), st.floats(1.01, 100))
def test_as_many_stages_as_reach_everything(start: float, growth: float) -> None:
    """One fewer would not."""
    said = Curriculum(by="length", pacing="exponential", start=start, growth=growth)

    assert start * growth**said.decided_stages >= 1 - 1e-6
    assert said.decided_stages == 1 or start * growth ** (said.decided_stages - 1) < 1


@pytest.mark.parametrize(
    ("keys", "fix"),
    [
        ({"power": 3}, "pacing: root"),
        ({"growth": 2}, "pacing: exponential"),
        ({"stages": 5}, "pacing: step"),
        ({"pacing": "root", "growth": 2}, "pacing: exponential"),
        ({"pacing": "exponential", "stages": 7}, "stages: 8"),
        ({"pacing": "exponential", "stages": 2, "growth": 1.001}, "growth: 10"),
        ({"model": "small"}, "by: loss"),
        ({"by": "loss"}, "model: runs/small/export"),
    ],
)
def test_what_nothing_reads_is_refused_with_the_line_to_write(keys: dict[str, object], fix: str) -> None:
    """A knob without effect is a mistake, and so is a pacing that leaps at its end."""
    with pytest.raises(ValidationError) as caught:
        Curriculum.model_validate({"by": "length", **keys})

    assert [error["ctx"]["fix"] for error in caught.value.errors()] == [fix]
    key, _, value = fix.partition(": ")
    mended = {"by": "length", **keys, key: float(value) if value[0].isdigit() else value}
    Curriculum.model_validate(mended)
