"""The scaling law against the numbers that its authors' code prints, and the properties that the equations have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.estimate.scaling_law import LAWS, inference_flops, train_flops

SARDANA = LAWS["sardana"]
BESIROGLU = LAWS["besiroglu"]


@pytest.mark.parametrize(
    ("parameters", "tokens", "loss", "flops"),
    [
        (1e9, 2.74301e10, 2.531120, 1.64580e20),
        (7e9, 2.76436e11, 2.127426, 1.16103e22),
        (13e9, 5.76486e11, 2.045282, 4.49659e22),
        (30e9, 1.55590e12, 1.958253, 2.80062e23),
        (70e9, 4.25474e12, 1.891792, 1.78699e24),
    ],
)
def test_chinchilla_points_of_the_papers_code(parameters: float, tokens: float, loss: float, flops: float) -> None:
    """Tokens, loss and FLOPs of compute-optimal models, constants of Sardana et al."""
    point = SARDANA.chinchilla_from_parameters(parameters)

    assert point.tokens == pytest.approx(tokens, rel=5e-6)
    assert point.loss == pytest.approx(loss, abs=5e-7)
    assert train_flops(point.parameters, point.tokens) == pytest.approx(flops, rel=5e-6)


@pytest.mark.parametrize(
    ("parameters", "tokens", "loss"),
    [(1e9, 2.27028e10, 2.513934), (13e9, 2.60141e11, 2.102721), (70e9, 1.28939e12, 1.976180)],
)
def test_chinchilla_points_of_besiroglu(parameters: float, tokens: float, loss: float) -> None:
    """The same for the refit of Besiroglu et al."""
    point = BESIROGLU.chinchilla_from_parameters(parameters)

    assert point.tokens == pytest.approx(tokens, rel=5e-6)
    assert point.loss == pytest.approx(loss, abs=5e-7)


@pytest.mark.parametrize(
    ("size", "served", "parameters", "tokens", "total"),
    [
        (1e9, 50e9, 6.32550e8, 4.67618e10, 2.40730e20),
        (7e9, 200e9, 5.39957e9, 3.66575e11, 1.40359e22),
        (13e9, 1e12, 8.32276e9, 9.66919e11, 6.49301e22),
        (30e9, 5e12, 1.64124e10, 3.26498e12, 4.85642e23),
        (70e9, 10e12, 4.15513e10, 7.92250e12, 2.80617e24),
    ],
)
def test_inference_moves_the_optimum(
    size: float, served: float, parameters: float, tokens: float, total: float
) -> None:
    """Table 1 of Sardana et al. (version 1), recomputed: smaller models on more data for the same quality."""
    best = SARDANA.optimum(SARDANA.chinchilla_from_parameters(size).loss, served)

    assert best.parameters == pytest.approx(parameters, rel=5e-6)
    assert best.tokens == pytest.approx(tokens, rel=5e-6)
    lifetime = train_flops(best.parameters, best.tokens) + inference_flops(best.parameters, served)
    assert lifetime == pytest.approx(total, rel=5e-6)


def test_tokens_given_uses_the_corrected_closed_form() -> None:
    """C = 6 (D G)^(1/b): 1e12 tokens are optimal for 20.67B parameters (the authors' code has a slip here)."""
    point = SARDANA.chinchilla_from_tokens(1e12)

    assert point.parameters == pytest.approx(2.06739e10, rel=5e-6)
    assert train_flops(point.parameters, point.tokens) == pytest.approx(1.24043e23, rel=5e-6)


@given(st.floats(1e8, 1e11), st.floats(0, 1e14), st.floats(1.1, 10))
def test_more_inference_means_a_smaller_model_on_more_data(size: float, served: float, factor: float) -> None:
    """N falls and D rises with the demand, and no demand gives the Chinchilla point."""
    loss = SARDANA.chinchilla_from_parameters(size).loss
    some, more = SARDANA.optimum(loss, served), SARDANA.optimum(loss, served * factor + 1e9)

    assert SARDANA.optimum(loss).parameters == pytest.approx(size, rel=1e-9)
    assert more.parameters <= some.parameters * (1 + 1e-12)
    assert more.tokens >= some.tokens * (1 - 1e-12)
    assert SARDANA.loss(more.parameters, more.tokens) == pytest.approx(loss, rel=1e-12)


def test_a_loss_below_the_irreducible_one_is_refused() -> None:
    """No model and no data reach it."""
    with pytest.raises(ValueError, match="irreducible"):
        SARDANA.optimum(1.69)
