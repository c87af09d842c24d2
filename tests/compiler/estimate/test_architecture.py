"""Dimensions for a size."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.estimate.architecture import Dimensions, count_parameters, pad_vocabulary, solve
from schemas.model import Family

START = Dimensions("llama", 32_768, 0, 0, 0, 0, 0, 2048, tied=True)


@given(st.floats(1e5, 1e13), st.sampled_from(["llama", "gpt2"]), st.booleans())
def test_solved_dimensions_can_be_built(target: float, family: Family, tied: bool) -> None:
    """Heads divide the width, heads are even in size, every dimension is positive."""
    d = solve(target, replace(START, family=family, tied=tied))

    assert d.hidden % d.heads == 0
    assert d.heads % d.kv_heads == 0
    assert (d.hidden // d.heads) % 2 == 0
    assert min(d.layers, d.intermediate, d.heads) >= 1


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("target", [125e6, 350e6, 1.3e9, 2e9, 2.7e9, 6.7e9, 13e9, 30e9, 70e9, 405e9, 1e12, 1e13])
def test_a_named_size_is_met_within_three_percent(target: float, family: Family) -> None:
    """From 125M up, some usual shape is close to any size."""
    d = solve(target, replace(START, family=family))
    assert count_parameters(d) == pytest.approx(target, rel=0.03)
    assert 30 <= d.hidden / d.layers <= 180


@given(st.floats(3e8, 1e13), st.sampled_from(["llama", "gpt2"]), st.sampled_from([32_768, 128_256]))
def test_large_models_divide_by_the_gpus_of_a_machine(target: float, family: Family, vocabulary: int) -> None:
    """From 300M on heads, key-value heads, width, MLP and vocabulary divide by 8; heads have 64 or 128 dimensions."""
    d = solve(target, replace(START, family=family, vocabulary=pad_vocabulary(vocabulary)))

    assert [size % 8 for size in (d.heads, d.kv_heads, d.hidden, d.intermediate, d.vocabulary)] == [0] * 5
    assert d.hidden // d.heads in (64, 128)
    assert d.hidden % 128 == 0
    assert d.intermediate % 256 == 0


@pytest.mark.parametrize(("target", "kv_heads"), [(125e6, 12), (760e6, 24), (1.3e9, 8), (7e9, 8), (70e9, 8)])
def test_large_llamas_share_key_value_heads(target: float, kv_heads: int) -> None:
    """Eight key-value heads from a width of 2048 on, as Llama 3 has; gpt2 has none to share."""
    assert solve(target, START).kv_heads == kv_heads
    gpt2 = solve(target, replace(START, family="gpt2"))
    assert gpt2.kv_heads == gpt2.heads


@pytest.mark.parametrize("heads", [7, 12, 40, 96])
def test_heads_that_are_fixed_divide_the_width(heads: int) -> None:
    """A width that suits the heads is found, with even heads, and plain attention unless asked otherwise."""
    for target in (2e7, 1e9, 2e10):
        d = solve(target, replace(START, heads=heads, kv_heads=heads), frozenset({"heads"}))
        assert (d.hidden % heads, d.hidden // heads % 2, d.kv_heads) == (0, 0, heads)
        assert count_parameters(d) == pytest.approx(target, rel=0.25)


@pytest.mark.parametrize("target", [1e7, 3e9, 1e13])
def test_dimensions_are_found_in_milliseconds(target: float) -> None:
    """`plan` must stay instant from 10M to 10T; the best of five, since machines have other things to do."""
    took = []
    for _ in range(5):
        begin = time.perf_counter()
        solve(target, START)
        took.append(time.perf_counter() - begin)
    assert min(took) < 0.005


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
    """GPT-2 small, Llama-2 7B, and with grouped key-value heads Llama-3 8B and 70B and the tied Llama-3.2 1B."""
    small = Dimensions("llama", 128_256, 2048, 16, 32, 8, 8192, 131_072, tied=True)
    gpt2 = Dimensions("gpt2", 50_257, 768, 12, 12, 12, 3072, 1024, tied=True)
    llama = Dimensions("llama", 32_000, 4096, 32, 32, 32, 11_008, 4096, tied=False)

    assert count_parameters(gpt2) == 124_439_808
    llama3 = Dimensions("llama", 128_256, 4096, 32, 32, 8, 14_336, 8192, tied=False)
    llama3_70b = Dimensions("llama", 128_256, 8192, 80, 64, 8, 28_672, 8192, tied=False)

    assert count_parameters(llama) == 6_738_415_616
    assert count_parameters(llama3) == 8_030_261_248
    assert count_parameters(llama3_70b) == 70_553_706_496
    assert count_parameters(small) == 1_235_814_400
