"""Dimensions for a size."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.estimate.architecture import Dimensions, count_parameters, pad_vocabulary, solve

START = Dimensions("llama", 32_768, 0, 0, 0, 0, 0, 2048, tied=True)


@given(st.floats(1e5, 1e13), st.sampled_from(["llama", "gpt2"]), st.booleans())
def test_solved_dimensions_can_be_built(target: float, family: str, tied: bool) -> None:
    """Heads divide the width, heads are even in size, every dimension is positive."""
    d = solve(target, replace(START, family=family, tied=tied))  # type: ignore[arg-type]

    assert d.hidden % d.heads == 0
    assert d.heads % d.kv_heads == 0
    assert (d.hidden // d.heads) % 2 == 0
    assert min(d.layers, d.intermediate, d.heads) >= 1


@pytest.mark.parametrize("target", [125e6, 350e6, 1.3e9, 2.7e9, 6.7e9, 13e9, 30e9, 70e9, 1e12])
def test_a_named_size_is_met_within_three_percent(target: float) -> None:
    """From 125M up, some usual shape is close to any size."""
    assert count_parameters(solve(target, START)) == pytest.approx(target, rel=0.03)


def test_fixed_dimensions_stay() -> None:
    """What the recipe fixes is not touched, the rest is fitted around it."""
    d = solve(1e9, replace(START, layers=24), frozenset({"layers"}))

    assert d.layers == 24
    assert count_parameters(d) == pytest.approx(1e9, rel=0.1)


@pytest.mark.parametrize(("tokens", "rows"), [(50_257, 50_304), (2048, 2048), (1, 64)])
def test_vocabulary_is_padded_to_64(tokens: int, rows: int) -> None:
    """GPT-2's 50257 tokens take 50304 rows."""
    assert pad_vocabulary(tokens) == rows


def test_count_of_published_models() -> None:
    """GPT-2 small has 124,439,808 parameters, Llama-2-7B 6,738,415,616."""
    gpt2 = Dimensions("gpt2", 50_257, 768, 12, 12, 12, 3072, 1024, tied=True)
    llama = Dimensions("llama", 32_000, 4096, 32, 32, 32, 11_008, 4096, tied=False)

    assert count_parameters(gpt2) == 124_439_808
    assert count_parameters(llama) == 6_738_415_616
