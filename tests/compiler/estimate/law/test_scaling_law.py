"""The scaling law against the numbers that its authors' code prints, and the properties that the equations have."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.estimate.law.scaling_law import LAWS, ScalingLaw, train_flops
from schemas.budget import ScalingLawName

SARDANA = LAWS["sardana"]
BESIROGLU = LAWS["besiroglu"]
HOFFMANN = LAWS["hoffmann_tex"]


def close(printed: str) -> object:
    """A number within half a unit of its last printed digit."""
    mantissa, _, exponent = printed.partition("e")
    digits = len(mantissa.partition(".")[2])
    return pytest.approx(float(printed), abs=0.5000001 * 10 ** (int(exponent or 0) - digits))


def test_every_name_of_the_language_is_a_law() -> None:
    """The names that a recipe may write are those that are shipped."""
    assert set(LAWS) == set(get_args(ScalingLawName))
    assert [law.name for law in LAWS.values()] == list(LAWS)


@pytest.mark.parametrize(
    ("parameters", "tokens", "ratio", "loss", "flops"),
    [
        (1e9, "2.74301e10", "27.43", "2.531120", "1.64580e20"),
        (7e9, "2.76436e11", "39.49", "2.127426", "1.16103e22"),
        (13e9, "5.76486e11", "44.35", "2.045282", "4.49659e22"),
        (30e9, "1.55590e12", "51.86", "1.958253", "2.80062e23"),
        (70e9, "4.25474e12", "60.78", "1.891792", "1.78699e24"),
    ],
)
def test_chinchilla_points_of_the_papers_code(
    parameters: float, tokens: str, ratio: str, loss: str, flops: str
) -> None:
    """Tokens, loss and FLOPs of compute-optimal models, constants of Sardana et al."""
    point = SARDANA.chinchilla_from_parameters(parameters)

    assert point.tokens == close(tokens)
    assert point.tokens / parameters == close(ratio)
    assert point.loss == close(loss)
    assert train_flops(point.parameters, point.tokens) == close(flops)


@pytest.mark.parametrize(
    ("flops", "parameters", "tokens", "loss"),
    [
        (1e24, "5.36822e10", "3.10469e12", "1.9106149"),
        (1e23, "1.87345e10", "8.89626e11", "2.004232"),
        (5.76e23, "4.17156e10", "2.30130e12", None),
    ],
)
def test_chinchilla_of_a_compute_budget(flops: float, parameters: str, tokens: str, loss: str | None) -> None:
    """N and D for a number of FLOPs, as the authors' code prints them."""
    point = SARDANA.chinchilla_from_flops(flops)

    assert point.parameters == close(parameters)
    assert point.tokens == close(tokens)
    assert loss is None or point.loss == close(loss)
    # With 40 digits: 1.29734738734575..., so a last digit of 1.2973473874 that is printed elsewhere is one too high.
    assert pytest.approx(1.29734738734575, abs=1e-14) == SARDANA.g


def test_digits_that_the_papers_readme_prints() -> None:
    """Losses with all their digits: 30B and 70B."""
    assert SARDANA.chinchilla_from_parameters(30e9).loss == pytest.approx(1.958253360475841, abs=1e-14)
    assert SARDANA.chinchilla_from_parameters(70e9).loss == pytest.approx(1.8917924770010524, abs=1e-14)
    assert SARDANA.loss(70e9, 1e12) == close("1.9472727897")
    assert SARDANA.loss(13e9, 1e12) == close("2.0174464168")
    assert SARDANA.loss(70e9, 1e13) == close("1.8682625023")


@pytest.mark.parametrize(
    ("parameters", "tokens", "ratio", "loss"),
    [
        (1e9, "2.27028e10", "22.70", "2.513934"),
        (7e9, "1.44408e11", "20.63", "2.171313"),
        (13e9, "2.60141e11", "20.01", "2.102721"),
        (30e9, "5.76123e11", "19.20", "2.030664"),
        (70e9, "1.28939e12", "18.42", "1.976180"),
    ],
)
def test_chinchilla_points_of_besiroglu(parameters: float, tokens: str, ratio: str, loss: str) -> None:
    """The same for the refit of Besiroglu et al."""
    point = BESIROGLU.chinchilla_from_parameters(parameters)

    assert point.tokens == close(tokens)
    assert point.tokens / parameters == close(ratio)
    assert point.loss == close(loss)


def test_besiroglu_recovers_the_choice_of_chinchilla() -> None:
    """At Chinchilla's 5.76e23 FLOPs the refit says 72B on 1.33T tokens, the unrounded original 40B on 2.4T."""
    refit, original = BESIROGLU.chinchilla_from_flops(5.76e23), HOFFMANN.chinchilla_from_flops(5.76e23)

    assert (refit.parameters, refit.tokens) == (close("7.22487e10"), close("1.32874e12"))
    assert refit.tokens / refit.parameters == close("18.39")
    assert refit.loss == close("1.974441")
    assert (original.parameters, original.tokens) == (close("4.03609e10"), close("2.37854e12"))
    assert original.tokens / original.parameters == close("58.9")


def test_unrounded_constants_of_hoffmann() -> None:
    """70B under the constants of the TeX source."""
    point = HOFFMANN.chinchilla_from_parameters(70e9)

    assert point.tokens == close("4.58133e12")
    assert point.loss == close("1.880075")


def test_share_of_the_model_in_a_growing_budget() -> None:
    """a = beta/(alpha + beta), the exponent of N*(C), as the card of constants prints it."""
    shares = {name: law.beta / (law.alpha + law.beta) for name, law in LAWS.items()}

    assert shares["sardana"] == close("0.4572")
    assert shares["hoffmann_printed"] == close("0.4516")
    assert shares["hoffmann_tex"] == close("0.4565")
    assert shares["besiroglu"] == close("0.5126")


def test_tokens_given_uses_the_corrected_closed_form() -> None:
    """C = 6 (D G)^(1/b): 1e12 tokens are optimal for 20.67B parameters (the authors' code has a slip here)."""
    point = SARDANA.chinchilla_from_tokens(1e12)

    assert point.parameters == close("2.06739e10")
    assert train_flops(point.parameters, point.tokens) == close("1.24043e23")


def test_bounds_of_a_loss() -> None:
    """No model reaches 1.947 with fewer tokens than D_min, no data with fewer parameters than N_min."""
    assert SARDANA.least_tokens_for(1.947) == close("2.08983e11")
    assert SARDANA.least_parameters_for(1.947) == close("3.31814e9")


def test_fits_of_long_training_see_what_the_others_miss() -> None:
    """150M on 1.5T tokens measured 3.060: laws of ordinary ratios promise too much, and their ranges say so."""
    point = (151e6, 1.5e12)

    assert SARDANA.loss(*point) == pytest.approx(2.563, abs=5e-4)
    assert LAWS["sardana_own_100"].loss(*point) == pytest.approx(2.601, abs=5e-4)
    assert LAWS["sardana_own"].loss(*point) == pytest.approx(2.882, abs=5e-4)
    assert [name for name, law in LAWS.items() if law.covers(*point)] == ["sardana_own"]


@given(st.sampled_from(sorted(LAWS)), st.floats(1e7, 1e13), st.floats(1, 1e4))
def test_closed_forms_invert_each_other(name: ScalingLawName, parameters: float, ratio: float) -> None:
    """D(L, N) and N(L, D) lead back, and the Chinchilla point of a loss is that of its FLOPs."""
    law: ScalingLaw = LAWS[name]
    tokens = parameters * ratio
    loss = law.loss(parameters, tokens)

    # A loss that rests on one term alone has few digits left for the other.
    assert law.tokens_for(loss, parameters) == pytest.approx(tokens, rel=1e-5)
    assert law.parameters_for(loss, tokens) == pytest.approx(parameters, rel=1e-5)
    best = law.chinchilla_from_loss(loss)
    again = law.chinchilla_from_flops(train_flops(best.parameters, best.tokens))
    assert again.parameters == pytest.approx(best.parameters, rel=1e-9)
    assert again.loss == pytest.approx(loss, rel=1e-9)


def test_a_loss_below_the_irreducible_one_is_refused() -> None:
    """No model and no data reach it."""
    with pytest.raises(ValueError, match="irreducible"):
        SARDANA.chinchilla_from_loss(1.69)
