"""Optima over a model's life: the paper's worked examples, the limits, repeated data, and properties of the equations."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from compiler.estimate.law.optimum import Goal, Limits, Market, Unreachable
from compiler.estimate.law.repetition import REPETITION, drawn_tokens, effective_tokens
from compiler.estimate.law.scaling_law import LAWS, Point
from schemas.budget import ScalingLawName
from tests.compiler.estimate.law.test_scaling_law import close

SARDANA = LAWS["sardana"]
BESIROGLU = LAWS["besiroglu"]


def lifetime(law_point: Point, served: float) -> float:
    """6 N D + 2 N T."""
    return Market(SARDANA, served).lifetime(law_point.parameters, law_point.tokens)


@pytest.mark.parametrize(
    ("size", "served", "naive", "parameters", "tokens", "ratio", "total", "smaller", "longer", "saved"),
    [
        (1e9, 50e9, "2.64580e20", "6.32550e8", "4.67618e10", "73.9", "2.40730e20", "63.25", "170.48", "9.01"),
        (7e9, 200e9, "1.44103e22", "5.39957e9", "3.66575e11", "67.9", "1.40359e22", "77.14", "132.61", "2.60"),
        (13e9, 1e12, "7.09659e22", "8.32276e9", "9.66919e11", "116.2", "6.49301e22", "64.02", "167.73", "8.51"),
        (30e9, 5e12, "5.80062e23", "1.64124e10", "3.26498e12", "198.9", "4.85642e23", "54.71", "209.84", "16.28"),
        (70e9, 10e12, "3.18699e24", "4.15513e10", "7.92250e12", "190.7", "2.80617e24", "59.36", "186.20", "11.95"),
    ],
)
def test_table_1_of_the_paper(
    size: float, served: float, naive: str, parameters: str, tokens: str, ratio: str, total: str,
    smaller: str, longer: str, saved: str,
) -> None:  # fmt: skip
    """Sardana et al., version 1, table 1, recomputed: smaller models on more data for the same quality."""
    base = SARDANA.chinchilla_from_parameters(size)
    best = Market(SARDANA, served).best("loss", base.loss)

    assert lifetime(base, served) == close(naive)
    assert best.parameters == close(parameters)
    assert best.tokens == close(tokens)
    assert best.tokens / best.parameters == close(ratio)
    assert lifetime(best, served) == close(total)
    assert 100 * best.parameters / base.parameters == close(smaller)
    assert 100 * best.tokens / base.tokens == close(longer)
    assert 100 * (1 - lifetime(best, served) / lifetime(base, served)) == close(saved)


@pytest.mark.parametrize(
    ("size", "served", "parameters", "tokens", "saved"),
    [
        (1e9, 50e9, "6.35449e8", "3.90114e10", "10.13"),
        (7e9, 200e9, "4.92628e9", "2.15826e11", "5.81"),
        (13e9, 1e12, "7.23082e9", "5.46971e11", "17.50"),
        (30e9, 5e12, "1.36641e10", "1.72786e12", "31.06"),
        (70e9, 10e12, "3.27651e10", "3.66797e12", "29.11"),
    ],
)
def test_the_same_rows_by_besiroglu(size: float, served: float, parameters: str, tokens: str, saved: str) -> None:
    """Other constants, larger savings."""
    base = BESIROGLU.chinchilla_from_parameters(size)
    best = Market(BESIROGLU, served).best("loss", base.loss)

    assert best.parameters == close(parameters)
    assert best.tokens == close(tokens)
    assert 100 * (1 - lifetime(best, served) / lifetime(base, served)) == close(saved)


def test_figure_1_of_the_paper() -> None:
    """13B quality for 2T tokens: training a 7B instead saves 1.7e22 FLOPs, 17 %."""
    base = SARDANA.chinchilla_from_parameters(13e9)
    small = Point(7e9, SARDANA.tokens_for(base.loss, 7e9), base.loss)

    assert small.tokens == close("1.239276e12")
    assert lifetime(base, 2e12) == close("9.69659e22")
    assert lifetime(small, 2e12) == close("8.00496e22")
    assert lifetime(base, 2e12) - lifetime(small, 2e12) == close("1.69163e22")
    assert 100 * (1 - lifetime(small, 2e12) / lifetime(base, 2e12)) == close("17.446")


def test_thirty_billion_quality_for_ten_trillion_tokens() -> None:
    """The blog's example: 13.6B on 2.84 times the data, 28 % less."""
    base = SARDANA.chinchilla_from_parameters(30e9)
    best = Market(SARDANA, 1e13).best("loss", base.loss)

    assert best.parameters == close("1.36128e10")
    assert best.tokens / base.tokens == close("2.84481")
    assert 100 * (1 - lifetime(best, 1e13) / lifetime(base, 1e13)) == close("27.985")


def test_a_loss_and_two_trillion_tokens() -> None:
    """The authors' README: loss 1.947, T = 2e12."""
    base, best = SARDANA.chinchilla_from_loss(1.947), Market(SARDANA, 2e12).best("loss", 1.947)

    assert (base.parameters, base.tokens) == (close("3.408e10"), close("1.810e12"))
    assert lifetime(base, 0) == close("3.702e23")
    assert lifetime(base, 2e12) == close("5.065e23")
    assert (best.parameters, best.tokens) == (close("2.418e10"), close("2.657e12"))
    assert lifetime(best, 2e12) == close("4.823e23")
    assert 100 * best.parameters / base.parameters == close("70.96")
    assert 100 * best.tokens / base.tokens == close("146.77")
    assert 100 * lifetime(best, 2e12) / lifetime(base, 2e12) == close("95.22")


def test_a_fixed_size_and_a_fixed_compute() -> None:
    """7B on 1e23 FLOPs is 2.381T tokens, for a loss of 2.0190799992."""
    tokens = Market(SARDANA).tokens_for("training", 1e23, 7e9)

    assert tokens == close("2.381e12")
    assert SARDANA.loss(7e9, tokens) == close("2.0190799992")


@pytest.mark.parametrize(
    ("name", "k", "longer", "smaller", "cost"),
    [
        ("sardana", 0.0, "1.000000", "1.000000", "1.000000"),
        ("sardana", 0.1, "1.052128", ".951202", ".999187"),
        ("sardana", 0.5, "1.235497", ".819959", ".985472"),
        ("sardana", 1.0, "1.430166", ".724563", ".958324"),
        ("sardana", 2.0, "1.758906", ".618254", ".899771"),
        ("sardana", 5.0, "2.532876", ".485750", ".764973"),
        ("sardana", 10.0, "3.541667", ".402940", ".639280"),
        ("sardana", 30.0, "6.527043", ".305756", ".459386"),
        ("sardana", 100.0, "13.820722", ".236783", ".325203"),
        ("sardana", 1000.0, "66.744226", ".166709", ".199492"),
        ("besiroglu", 1.0, "1.376858", ".750516", ".962644"),
        ("besiroglu", 10.0, "3.210688", ".440216", ".664796"),
        ("besiroglu", 100.0, "11.707563", ".276286", ".362451"),
    ],
)
@pytest.mark.parametrize("size", [1e8, 7e9, 1e12])
def test_scale_free_table(name: ScalingLawName, k: float, longer: str, smaller: str, cost: str, size: float) -> None:
    """With k = T/D_c the ratios to the Chinchilla point depend on k and the exponents alone, at every quality."""
    law = LAWS[name]
    base = law.chinchilla_from_parameters(size)
    market = Market(law, k * base.tokens)
    best = market.best("loss", base.loss)
    ratio = market.lifetime(best.parameters, best.tokens) / market.lifetime(base.parameters, base.tokens)

    assert best.tokens / base.tokens == close(longer)
    assert best.parameters / base.parameters == close(smaller)
    assert ratio == close(cost)


GOALS: list[Goal] = ["loss", "training", "lifetime", "tokens"]
SIZES = st.floats(1e7, 1e13)
SERVED = st.floats(0, 1e17)


@given(SIZES)
def test_nothing_served_gives_the_chinchilla_point(size: float) -> None:
    """Whatever the budget names."""
    base = SARDANA.chinchilla_from_parameters(size)
    flops = 6 * base.parameters * base.tokens
    values = {"loss": base.loss, "training": flops, "lifetime": flops, "tokens": base.tokens}
    for goal in GOALS:
        best = Market(SARDANA).best(goal, values[goal])
        assert best.parameters == pytest.approx(size, rel=1e-9)
        assert best.tokens == pytest.approx(base.tokens, rel=1e-9)


@given(SIZES, SERVED, st.floats(1.1, 10))
def test_more_inference_means_a_smaller_model_on_more_data(size: float, served: float, factor: float) -> None:
    """N falls, D rises, and the share of the naive cost falls with the demand."""
    base = SARDANA.chinchilla_from_parameters(size)
    some, more = (Market(SARDANA, t) for t in (served, served * factor + base.tokens / 100))
    a, b = some.best("loss", base.loss), more.best("loss", base.loss)

    assert b.parameters < a.parameters
    assert b.tokens > a.tokens
    costs = [m.lifetime(p.parameters, p.tokens) / m.lifetime(size, base.tokens) for m, p in ((some, a), (more, b))]
    assert costs[1] < costs[0] <= 1 + 1e-12
    assert SARDANA.loss(b.parameters, b.tokens) == pytest.approx(base.loss, rel=1e-12)


@given(SIZES, SERVED, st.floats(-0.5, 0.5))
def test_no_neighbour_on_the_curve_of_equal_loss_is_cheaper(size: float, served: float, step: float) -> None:
    """The optimum is one: another size at the same loss costs at least as much."""
    base = SARDANA.chinchilla_from_parameters(size)
    market = Market(SARDANA, served)
    best = market.best("loss", base.loss)
    other = best.parameters * math.exp(step)
    tokens = market.tokens_for("loss", base.loss, other)
    assume(math.isfinite(tokens))

    assert market.lifetime(other, tokens) >= market.lifetime(best.parameters, best.tokens) * (1 - 1e-12)


@given(SIZES, SERVED)
def test_what_is_spent_buys_the_loss_that_costs_it(size: float, served: float) -> None:
    """Least loss for a lifetime's FLOPs is the dual of least FLOPs for a loss."""
    market = Market(SARDANA, served)
    best = market.best("loss", SARDANA.chinchilla_from_parameters(size).loss)
    for goal, value in (
        ("lifetime", market.lifetime(best.parameters, best.tokens)),
        ("training", 6 * best.parameters * best.tokens),
        ("tokens", best.tokens),
    ):
        dual = market.best(goal, value)  # type: ignore[arg-type]  # the tuple's words are goals
        assert dual.parameters == pytest.approx(best.parameters, rel=1e-7)
        assert dual.loss == pytest.approx(best.loss, rel=1e-9)


@pytest.mark.parametrize(
    ("limits", "binding"),
    [
        (Limits(), ""),
        (Limits(max_parameters=3e9), "max_parameters"),
        (Limits(min_parameters=20e9), "min_parameters"),
        (Limits(unique_tokens=2e11, max_epochs=1), "unique_tokens"),
        (Limits(max_tokens_per_parameter=20), "max_tokens_per_parameter"),
    ],
)
@pytest.mark.parametrize("goal", GOALS)
def test_a_limit_that_binds_is_met_exactly(limits: Limits, binding: str, goal: Goal) -> None:
    """13B quality for 1T tokens under one limit: the goal is still met, the limit too, and the loss is no better."""
    free = Market(SARDANA, 1e12).best("loss", SARDANA.chinchilla_from_parameters(13e9).loss)
    market = Market(SARDANA, 1e12, limits)
    value = {
        "loss": free.loss,
        "training": 6 * free.parameters * free.tokens,
        "lifetime": market.lifetime(free.parameters, free.tokens),
        "tokens": free.tokens if binding != "unique_tokens" else 1.9e11,
    }[goal]
    if goal == "loss" and binding == "max_parameters":
        limits = Limits(max_parameters=5e9)
        market = Market(SARDANA, 1e12, limits)
    found = market.best_within(goal, value)
    point = found.point

    assert found.binding == (binding if (goal, binding) != ("tokens", "unique_tokens") else "")
    assert limits.min_parameters <= point.parameters <= limits.max_parameters
    assert point.tokens <= limits.most_tokens * (1 + 1e-9)
    assert point.tokens <= limits.max_tokens_per_parameter * point.parameters * (1 + 1e-9)
    measured = {
        "loss": point.loss,
        "training": 6 * point.parameters * point.tokens,
        "lifetime": market.lifetime(point.parameters, point.tokens),
        "tokens": point.tokens,
    }
    assert measured[goal] == pytest.approx(value, rel=1e-9)
    unlimited = Market(SARDANA, 1e12).best(goal, value)
    if goal == "lifetime":
        assert point.loss >= unlimited.loss - 1e-12


def test_a_size_and_data_that_can_t_use_the_money() -> None:
    """7B at most on 4 passes over 100B tokens: more FLOPs than that buy nothing."""
    market = Market(SARDANA, 0.0, Limits(max_parameters=7e9, unique_tokens=1e11, max_epochs=4))
    found = market.best_within("training", 1e24)

    assert (found.point.parameters, found.point.tokens) == (7e9, 4e11)
    assert found.binding == "max_parameters and unique_tokens"


def test_a_loss_beyond_the_limits_says_the_least_that_is_within() -> None:
    """The least loss is that of the largest model on the most data, and each limit that stops it is named."""
    market = Market(SARDANA, 0.0, Limits(max_parameters=7e9, max_tokens_per_parameter=20))
    with pytest.raises(Unreachable) as caught:
        market.best_within("loss", 2.0)

    assert caught.value.best == Point(7e9, 1.4e11, SARDANA.loss(7e9, 1.4e11))
    assert caught.value.binding == "max_parameters and max_tokens_per_parameter"
    assert market.best_within("loss", caught.value.best.loss + 1e-6).point.loss == pytest.approx(
        caught.value.best.loss, abs=2e-6
    )


def test_a_loss_that_no_number_of_passes_reaches() -> None:
    """A billion unique tokens are worth 16.4 billion at most, however often they are read."""
    market = Market(SARDANA, 0.0, Limits(unique_tokens=1e9))
    least = SARDANA.e + SARDANA.b * (1e9 * (1 + REPETITION)) ** -SARDANA.beta
    with pytest.raises(Unreachable, match="unique_tokens") as caught:
        market.best("loss", least - 1e-6)

    assert caught.value.best.loss == pytest.approx(least, abs=1e-6)
    assert market.best("loss", least + 0.01).loss == pytest.approx(least + 0.01)


def test_serving_a_model_that_is_larger_than_the_money() -> None:
    """A smallest size whose serving alone costs more than a lifetime may."""
    market = Market(SARDANA, 1e12, Limits(min_parameters=1e11))
    with pytest.raises(Unreachable, match="min_parameters"):
        market.best_within("lifetime", 1e22)


def test_repeated_tokens_are_worth_less() -> None:
    """Muennighoff et al.: 4 passes are worth 3.73 fresh ones here, 16 passes 10.6, and no number more than 1 + R*."""
    worth = [effective_tokens(passes * 1e9, 1e9) / 1e9 for passes in (0.5, 1, 4, 16, 40, 1e4)]

    assert worth == pytest.approx([0.5, 1.0, 3.7256, 10.5819, 15.1673, 1 + REPETITION], abs=1e-3)
    assert [drawn_tokens(w * 1e9, 1e9) / 1e9 for w in worth[:5]] == pytest.approx([0.5, 1, 4, 16, 40])
    assert math.isinf(drawn_tokens(16.4e9, 1e9))


@given(st.floats(1e8, 1e11), st.floats(0, 1e14), st.floats(0.02, 1))
def test_scarce_data_makes_larger_models(size: float, served: float, share: float) -> None:
    """With fewer unique tokens the same loss takes a larger model, fewer draws than fresh data's worth, and more FLOPs."""
    loss = SARDANA.chinchilla_from_parameters(size).loss
    fresh = Market(SARDANA, served)
    best = fresh.best("loss", loss)
    scarce = Market(SARDANA, served, Limits(unique_tokens=best.tokens * share))
    found = scarce.best("loss", loss)

    assert found.loss == pytest.approx(loss, rel=1e-9)
    assert found.parameters >= best.parameters * (1 - 1e-9)
    assert scarce.lifetime(found.parameters, found.tokens) >= fresh.lifetime(best.parameters, best.tokens) * (1 - 1e-9)


@given(st.sampled_from(sorted(LAWS)), st.floats(1e-3, 20), SERVED)
def test_every_loss_above_the_irreducible_has_an_optimum(name: ScalingLawName, above: float, served: float) -> None:
    """From one in a thousand above E to 20 nats, for every shipped law: no overflow, and the loss is met."""
    law = LAWS[name]
    found = Market(law, served).best("loss", law.e + above)

    assert found.loss == pytest.approx(law.e + above, rel=1e-9)
