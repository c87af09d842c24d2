"""Prices of a model's life: the dollar examples of Sardana et al., and what prices may and may not change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.catalogue import devices
from compiler.estimate.law.optimum import Market
from compiler.estimate.law.scaling_law import LAWS
from compiler.estimate.law.serving import Rates, peak_of, usd_per_flop
from tests.compiler.estimate.law.test_scaling_law import close

SARDANA = LAWS["sardana"]
# Peaks and prices of the paper's code, which the examples use: A100 3.12e14, int8 twice that; H100 9.89e14, fp8 twice that.
A100, A100_INT8, H100, H100_FP8 = 3.12e14, 6.24e14, 9.89e14, 1.978e15


def market(rates: Rates) -> Market:
    """The law of the examples with a demand in dollars."""
    return Market(SARDANA, rates.effective_tokens)


def a100_rates(requests: float) -> Rates:
    """Default prices of the paper's code: A100-80GB bf16 $1.50 to train, A100-40GB int8 $1.10 to serve 70 + 215 tokens."""
    return Rates(usd_per_flop(1.50, A100, 0.5), usd_per_flop(1.10, A100_INT8), 0.5, 0.01, 70 * requests, 215 * requests)


def h100_rates(requests: float) -> Rates:
    """The same with H100 at $2: bf16 to train, fp8 to serve."""
    return Rates(usd_per_flop(2.0, H100, 0.5), usd_per_flop(2.0, H100_FP8), 0.5, 0.01, 70 * requests, 215 * requests)


def test_dollar_example_of_the_authors_readme() -> None:
    """Loss 1.947, 1e10 requests of 1000 + 250 tokens, A100 at $1.40 and $0.60: $1,605,531.94 becomes $1,425,059.70."""
    rates = Rates(usd_per_flop(1.40, A100, 0.5), usd_per_flop(0.60, A100_INT8), 0.4, 0.2, 1e13, 2.5e12)
    base, best = SARDANA.chinchilla_from_loss(1.947), market(rates).best("loss", 1.947)

    assert rates.effective_tokens == close("4.017857e12")
    assert (best.parameters, best.tokens) == (close("2.053e10"), close("3.302e12"))
    assert 100 * best.parameters / base.parameters == close("60.23")
    assert 100 * best.tokens / base.tokens == close("182.41")
    assert rates.lifetime_usd(base.parameters, base.tokens) == close("1605531.94")
    assert rates.lifetime_usd(best.parameters, best.tokens) == close("1425059.70")
    ratio = rates.lifetime_usd(best.parameters, best.tokens) / rates.lifetime_usd(base.parameters, base.tokens)
    assert 100 * ratio == close("88.76")


def test_default_prices_of_the_authors_code() -> None:
    """Loss 1.947, 1e10 requests at H100 prices: $4,558,770.72 becomes $2,096,689.45, 46 %."""
    rates = h100_rates(1e10)
    base, best = SARDANA.chinchilla_from_loss(1.947), market(rates).best("loss", 1.947)

    assert rates.effective_tokens == close("5.41e13")
    assert (best.parameters, best.tokens) == (close("1.043e10"), close("1.179e13"))
    assert 100 * best.parameters / base.parameters == close("30.60")
    assert 100 * best.tokens / base.tokens == close("651.22")
    assert rates.lifetime_usd(base.parameters, base.tokens) == close("4558770.72")
    assert rates.lifetime_usd(best.parameters, best.tokens) == close("2096689.45")


def test_training_alone() -> None:
    """70B on 10T tokens on H100 at $2 and half of the peak: $4.719M."""
    assert h100_rates(0).training_usd(70e9, 1e13) == close("4.719e6")
    assert h100_rates(0).effective_tokens == 0


@pytest.mark.parametrize(
    ("size", "served", "naive", "least", "parameters", "tokens", "saved", "h100_parameters", "h100_saved"),
    [
        (1e9, 50e9, "4157.66", "2010.06", "3.18134e8", "1.62254e11", "51.65", "2.95817e8", "56.00"),
        (7e9, 200e9, "1.35116e5", "8.62025e4", "2.81526e9", "9.82641e11", "36.20", "2.59554e9", "41.73"),
        (13e9, 1e12, "1.0868e6", "5.33455e5", "4.18538e9", "3.31315e12", "50.92", "3.88971e9", "55.34"),
        (30e9, 5e12, "1.19023e7", "4.85012e6", "8.37736e9", "1.29261e13", "59.25", "7.83911e9", "62.75"),
        (70e9, 10e12, "5.6826e7", "2.54274e7", "2.09756e10", "2.92419e13", "55.25", "1.95587e10", "59.22"),
    ],
)
def test_dollar_table(
    size: float, served: float, naive: str, least: str, parameters: str, tokens: str, saved: str,
    h100_parameters: str, h100_saved: str,
) -> None:  # fmt: skip
    """The table's five models at 285 tokens a request, default prices of the code: savings of 36 to 63 %."""
    base = SARDANA.chinchilla_from_parameters(size)
    a100, h100 = a100_rates(served / 285), h100_rates(served / 285)
    best, newer = market(a100).best("loss", base.loss), market(h100).best("loss", base.loss)

    assert a100.lifetime_usd(size, base.tokens) == close(naive)
    assert a100.lifetime_usd(best.parameters, best.tokens) == close(least)
    assert (best.parameters, best.tokens) == (close(parameters), close(tokens))
    ratio = a100.lifetime_usd(best.parameters, best.tokens) / a100.lifetime_usd(size, base.tokens)
    assert 100 * (1 - ratio) == close(saved)
    assert newer.parameters == close(h100_parameters)
    ratio = h100.lifetime_usd(newer.parameters, newer.tokens) / h100.lifetime_usd(size, base.tokens)
    assert 100 * (1 - ratio) == close(h100_saved)


def test_flags_that_the_papers_code_ignores() -> None:
    """30B Chinchilla, 1e9 requests of 500 + 100 tokens: the README's figures are those of $2.00 and $1.10, not of its flags."""
    base = SARDANA.chinchilla_from_parameters(30e9)

    def costs(train: float, serve: float) -> tuple[float, float]:
        rates = Rates(usd_per_flop(train, H100, 0.5), usd_per_flop(serve, A100_INT8), 0.5, 0.01, 5e11, 1e11)
        return rates.training_usd(30e9, base.tokens), rates.lifetime_usd(30e9, base.tokens)

    assert costs(2.00, 1.10) == (close("3.146e5"), close("6.378e5"))
    assert costs(1.50, 0.60) == (close("235981"), close("412263"))


PRICE = st.floats(0.01, 100)
SHARE = st.floats(0.005, 1)
TOKENS = st.floats(0, 1e15)
FACTOR = st.floats(0.01, 100)


@given(
    PRICE, PRICE, st.floats(0.005, 0.1), st.floats(0.005, 0.1), TOKENS, TOKENS, st.floats(0.1, 10), st.floats(1e8, 1e12)
)
def test_properties_of_prices(
    train: float, serve: float, prefill: float, decode: float, read: float, written: float, c: float, size: float
) -> None:  # fmt: skip
    """Both prices times c: the same choice at c times the cost. Both serving utilizations times c: K / c."""
    rates = Rates(usd_per_flop(train, H100, 0.4), usd_per_flop(serve, H100), prefill, decode, read, written)
    dearer = Rates(usd_per_flop(train * c, H100, 0.4), usd_per_flop(serve * c, H100), prefill, decode, read, written)
    quicker = Rates(rates.training_usd_per_flop, rates.serving_usd_per_flop, prefill * c, decode * c, read, written)
    loss = SARDANA.chinchilla_from_parameters(size).loss
    a, b = market(rates).best("loss", loss), market(dearer).best("loss", loss)

    assert (b.parameters, b.tokens) == pytest.approx((a.parameters, a.tokens), rel=1e-9)
    assert dearer.lifetime_usd(b.parameters, b.tokens) == pytest.approx(
        c * rates.lifetime_usd(a.parameters, a.tokens), rel=1e-9
    )
    assert quicker.effective_tokens == pytest.approx(rates.effective_tokens / c, rel=1e-9)


@given(PRICE, SHARE, TOKENS, TOKENS)
def test_one_price_and_one_utilization_make_dollars_flops(
    price: float, mfu: float, read: float, written: float
) -> None:
    """With equal prices and utilizations K is T, so dollars choose what FLOPs choose."""
    rates = Rates(usd_per_flop(price, H100, mfu), usd_per_flop(price, H100), mfu, mfu, read, written)

    assert rates.effective_tokens == pytest.approx(read + written, rel=1e-12)


def test_what_costs_nothing() -> None:
    """Free serving leaves Chinchilla's choice; free training beside serving that is paid has no least cost."""
    assert Rates(1e-18, 0.0, 0.5, 0.01, 1e12, 1e12).effective_tokens == 0
    assert Rates(0.0, 1e-18, 0.5, 0.01, 1e12, 1e12).effective_tokens == float("inf")
    assert Rates(0.0, 0.0, 0.5, 0.01, 1e12, 1e12).effective_tokens == 0


def test_peaks_of_serving_formats() -> None:
    """The card's table, and formats that a device lacks."""
    known = devices()

    assert peak_of(known["a100-sxm-80gb"], "bf16") == 3.12e14
    assert peak_of(known["a100-sxm-80gb"], "int8") == 6.24e14
    assert peak_of(known["a100-sxm-80gb"], "fp8") is None
    assert peak_of(known["h100-sxm-80gb"], "fp8") == peak_of(known["h100-sxm-80gb"], "int8") == 1.979e15
    assert peak_of(known["v100-sxm2-32gb"], "int8") is None
    assert peak_of(known["cpu"], "int8") is None
