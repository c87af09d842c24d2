"""Formulas of uniform quantisation: numbers by hand, and torchao's own for the same conventions."""

from __future__ import annotations

import pytest
import torch

from runtime.compression.rounding import (
    INT4,
    INT8,
    Grid,
    Rounding,
    dequantize,
    fake_quantize,
    quantize,
    symmetric,
)

X = torch.tensor([[-1.0, 0.0, 0.25, 2.0]])


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_the_scale_divides_by_half_the_range() -> None:
    """x = (-1, 0, 0.25, 2) in int8, by hand: 2/127.5. Others' 2/127 gives other numbers, which the card shows."""
    scale = symmetric(X, INT8)
    assert scale.item() == pytest.approx(0.0156863, abs=1e-7)
    q = quantize(X, scale, INT8)
    assert q.tolist() == [[-64, 0, 16, 127]]
    assert dequantize(q, scale).tolist() == [pytest.approx([-1.003922, 0.0, 0.250980, 1.992157], abs=1e-6)]

    others = torch.tensor([[2 / 127]])
    assert dequantize(quantize(X, others, INT8), others).tolist() == [
        pytest.approx([-1.007874, 0.0, 0.251969, 2.0], abs=1e-6)
    ]


def test_halves_go_to_the_even_neighbour() -> None:
    """0.5 to 0, 1.5 to 2, 2.5 to 2, and the same below zero."""
    halves = torch.tensor([[0.5, 1.5, 2.5, -0.5, -1.5, -2.5]])
    assert quantize(halves, torch.tensor([[1.0]]), INT8).tolist() == [[0, 2, 2, 0, -2, -2]]


@pytest.mark.parametrize("grid", [INT8, INT4], ids=["int8", "int4"])
def test_the_error_is_at_most_half_a_step(grid: Grid) -> None:
    """Also of the largest magnitude, which lies half a step beyond the grid; the bound is reached, not loose."""
    blocks = _random(64, 32)
    scale = symmetric(blocks, grid)
    error = (blocks - dequantize(quantize(blocks, scale, grid), scale)).abs() / scale
    assert 0.499 < error.max().item() <= 0.5 + 1e-4


def test_zeros_stay_zeros_and_blocks_of_zeros_are_no_trouble() -> None:
    """What pruning removed stays removed, in every granularity; a block of zeros has no infinite scale."""
    matrix = _random(8, 64)
    matrix[:, ::3] = 0
    matrix[2] = 0
    for rounding in (
        Rounding(INT4, "group", 16, activations=False),
        Rounding(INT8, "channel", None, activations=False),
        Rounding(INT8, "tensor", None, activations=False),
    ):
        rounded = rounding.fake(matrix)
        assert torch.isfinite(rounded).all()
        assert (rounded[matrix == 0] == 0).all()


@pytest.mark.parametrize(
    ("granularity", "group", "shape"), [("tensor", None, (1,)), ("channel", None, (8, 1)), ("group", 16, (8, 4))]
)
def test_each_block_has_its_own_scale(granularity: str, group: int | None, shape: tuple[int, ...]) -> None:
    """A block that is a thousand times larger leaves the others' steps alone, unless they share its scale."""
    rounding = Rounding(INT8, granularity, group, activations=False)  # type: ignore[arg-type]
    matrix = _random(8, 64)
    matrix[0, :16] *= 1000
    q, scale = rounding.quantized(matrix)
    assert q.dtype == torch.int8
    assert scale.shape == shape
    assert torch.equal(rounding.dequantized(q, scale), rounding.fake(matrix))
    error = (rounding.fake(matrix) - matrix).abs()
    assert (error[1].max() > 0.5) == (granularity == "tensor")
    assert (error[0, 16:].max() > 0.5) == (granularity != "group")


@pytest.mark.parametrize(("bits", "grid"), [("int4", INT4), ("int8", INT8)])
def test_fake_quantisation_is_torchaos(bits: str, grid: Grid) -> None:
    """Values and gradients of groups of 32, but at a group's largest: torchao's x * (1 / s) and our x / s part there."""
    qat = pytest.importorskip("torchao.quantization.qat")
    from torchao.quantization.qat.fake_quantizer import IntxFakeQuantizer

    theirs = IntxFakeQuantizer(qat.IntxFakeQuantizeConfig(getattr(torch, bits), group_size=32))
    weight, upstream = _random(64, 128).requires_grad_(True), _random(64, 128).flip(0)
    expected = theirs(weight)
    (gradient,) = torch.autograd.grad((expected * upstream).sum(), weight)
    found = Rounding(grid, "group", 32, activations=False).fake(weight)
    (ours,) = torch.autograd.grad((found * upstream).sum(), weight)
    blocks = weight.detach().view(-1, 32)
    scale = symmetric(blocks, grid)
    largest = (blocks.abs() == blocks.abs().amax(1, keepdim=True)).view(64, 128)
    assert torch.equal(found[~largest], expected[~largest])
    assert ((found - expected).abs().view(-1, 32) / scale).max().item() <= 1.0 + 1e-4
    # Beyond the grid's last value torchao passes what still rounds to it.
    inside = (blocks / scale <= grid.high).view(64, 128)
    assert torch.allclose(ours[inside], gradient[inside], atol=1e-6)
    assert not ours[~inside].any()
    assert 0 < (~inside).float().mean().item() < 0.05


def test_finished_weights_are_rounded_as_torchao_rounds_them() -> None:
    """Weight-only int8 by channel: at most the block's largest magnitude differs, by one step."""
    quantization = pytest.importorskip("torchao.quantization")
    from torchao.quantization.granularity import PerAxis

    linear = torch.nn.Linear(128, 64, bias=False)
    with torch.no_grad():
        linear.weight.copy_(_random(64, 128))
    weight = linear.weight.detach().clone()
    quantization.quantize_(linear, quantization.IntxWeightOnlyConfig(torch.int8, PerAxis(0)))
    found, expected = Rounding(INT8, "channel", None, activations=False).fake(weight), linear.weight.dequantize()
    inside = weight.abs() < weight.abs().amax(1, keepdim=True)
    assert torch.equal(found[inside], expected[inside])
    assert ((found - expected).abs() <= symmetric(weight, INT8) * 1.001).all()


def test_gradients_pass_inside_the_grid() -> None:
    """The largest magnitude is cut from 127.5 steps to 127: it alone gets no gradient; -127.5 has a place, -128."""
    upstream = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    for blocks, expected in ((X.clone(), [[1.0, 2.0, 3.0, 0.0]]), (-X, [[1.0, 2.0, 3.0, 4.0]])):
        leaf = blocks.requires_grad_(True)
        (gradient,) = torch.autograd.grad(fake_quantize(leaf, INT8), leaf, upstream)
        assert gradient.tolist() == expected


def test_inputs_are_rounded_token_by_token() -> None:
    """A token of large numbers doesn't coarsen the others; bf16 stays bf16, and keeps the precision of its scale."""
    rounding = Rounding(INT8, "channel", None, activations=True)
    x = _random(2, 5, 64)
    x[0, 0] *= 1000
    rounded = rounding.inputs(x, 10)
    assert (rounded - x)[0, 1:].abs().max() < 0.02
    assert (rounded - x)[0, 0].abs().max() > 1
    low = rounding.inputs(x.bfloat16(), 10)
    assert low.dtype == torch.bfloat16
    assert torch.allclose(low.float(), rounding.inputs(x.bfloat16().float(), 10), rtol=2**-8)
    assert Rounding(INT8, "channel", None, activations=False).inputs(x, 10) is x


def test_weights_in_bf16_are_rounded_as_finished_ones() -> None:
    """FSDP hands down bf16; scales are those of fp32 all the same, only the result is bf16 again."""
    matrix = _random(16, 64).bfloat16()
    rounding = Rounding(INT8, "channel", None, activations=False)
    assert torch.equal(rounding.fake(matrix), rounding.fake(matrix.float()).bfloat16())
