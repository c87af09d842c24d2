"""What a compressed model saves where it is served."""

from __future__ import annotations

import pytest

from compiler.estimate.law.serving import Rates
from compiler.estimate.shipped import Form, served_in_form, written_share

DENSE = Form(parameters=1.0, nonzero=1.0, bits=16.0)
RATES = Rates(1e-18, 1e-19, 0.5, 0.01, 7e9, 21e9)


def test_int8_halves_what_a_written_token_reads() -> None:
    """8 bits of 16; int4 with its scales 4.5 of 16; what is served in 8 bits anyway gains nothing from int8."""
    assert written_share(Form(1.0, 1.0, 8.0), "bf16") == 0.5
    assert written_share(Form(1.0, 1.0, 4.5), "bf16") == pytest.approx(0.28125)
    assert written_share(Form(1.0, 1.0, 8.0), "fp8") == 1.0
    assert written_share(DENSE, "fp8") == 1.0
    assert written_share(Form(0.5, 1.0, 8.0), "bf16") == 0.25


def test_bits_pay_while_writing_and_parameters_in_both() -> None:
    """2 N (T_in/U_in + f T_out/U_out): golden dollars of a 1B model."""
    n = 1e9
    dense = 2 * n * 1e-19 * (7e9 / 0.5 + 21e9 / 0.01)
    assert served_in_form(RATES, DENSE, "bf16").inference_usd(n) == pytest.approx(dense)
    rounded = served_in_form(RATES, Form(1.0, 1.0, 8.0), "bf16").inference_usd(n)
    assert rounded == pytest.approx(2 * n * 1e-19 * (7e9 / 0.5 + 21e9 / 0.02))
    halved = served_in_form(RATES, Form(0.5, 1.0, 16.0), "bf16").inference_usd(n)
    assert halved == pytest.approx(dense / 2)


def test_single_zeros_save_nothing() -> None:
    """Without special kernels a zero is read and multiplied like any other weight."""
    sparse = Form(1.0, 0.1, 16.0)
    assert served_in_form(RATES, sparse, "bf16") == served_in_form(RATES, DENSE, "bf16")


def test_less_is_never_dearer() -> None:
    """Fewer bits, and fewer parameters, never raise the effective number of served tokens."""
    found = [
        served_in_form(RATES, Form(share, 1.0, bits), "bf16").effective_tokens
        for share in (1.0, 0.7, 0.3)
        for bits in (32.0, 16.0, 8.0, 4.0)
    ]
    for row in (found[:4], found[4:8], found[8:]):
        assert row == sorted(row, reverse=True)
    assert found[0] > found[4] > found[8]
    assert found[0] == found[1]
