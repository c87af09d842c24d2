"""Uniform quantisation: ranges to scales, numbers to integers and back, and rounding that gradients pass through.

q = clamp(round(x / s), low, high) and x' = q s with s = max|x| / ((high - low) / 2), half rounded to even as torch does. Inside
the range |x - x'| <= s / 2. This is the symmetric convention of torchao and compressed-tensors; most other libraries divide by
`high`. A zero point, which asymmetric rounding has, would not leave zero at zero: weights that pruning removed stay removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import torch

__all__ = [
    "INT4",
    "INT8",
    "Grid",
    "Rounding",
    "dequantize",
    "fake_quantize",
    "quantize",
    "symmetric",
]


@dataclass(frozen=True)
class Grid:
    """The integers of a format, `low` to `high`, both included."""

    bits: int

    @property
    def low(self) -> int:
        """-128 or -8."""
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        """127 or 7."""
        return (1 << (self.bits - 1)) - 1


INT8: Final = Grid(8)
INT4: Final = Grid(4)


def symmetric(blocks: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Scales [n, 1] of blocks [n, size]: the largest magnitude lies half a step beyond `high`, and is clamped to it."""
    return _not_zero(blocks.abs().amax(dim=1, keepdim=True) / ((grid.high - grid.low) / 2))


def _not_zero(scale: torch.Tensor) -> torch.Tensor:
    """Blocks of zeros have some scale; torchao's smallest."""
    return scale.clamp(min=torch.finfo(scale.dtype).eps)


def quantize(x: torch.Tensor, scale: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Integers as int8.

    The quotient is compressed-tensors'. torchao takes x * (1 / s), which may fall on the other side of a half: of a block's
    largest magnitude where it is negative, since that lies at -127.5.
    """
    return torch.round(x / scale).clamp(grid.low, grid.high).to(torch.int8)


def dequantize(q: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Numbers in the scale's format."""
    return q.to(scale.dtype) * scale


class _StraightThrough(torch.autograd.Function):
    """Rounds forward; backward the gradient passes where x / s is in the range, and is zero elsewhere.

    Taken before rounding: of a block's largest magnitude, 127.5 steps off, it would else hang on the last bit of s.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, low: int, high: int) -> torch.Tensor:
        q = x / scale
        ctx.save_for_backward((q >= low) & (q <= high))
        return q.round_().clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None, None


def fake_quantize(blocks: torch.Tensor, grid: Grid) -> torch.Tensor:
    """What symmetric quantisation makes of blocks [n, size], in their own format; gradients as if it had not been there.

    dL/dx = dL/dx' 1[low <= x / s <= high] (Bengio et al. 2013; Jacob et al. 2018, section 3): the scale counts as a constant.
    """
    with torch.no_grad():
        scale = symmetric(blocks, grid)
    rounded = _StraightThrough.apply(blocks, scale, grid.low, grid.high)  # type: ignore[no-untyped-call]  # torch's
    return cast("torch.Tensor", rounded)


@dataclass(frozen=True)
class Rounding:
    """How a layer is rounded: its weights, and its inputs where `activations` are.

    Args:
        grid: of the weights.
        granularity: what shares one scale: the whole matrix, a row (an output), `group_size` inputs of a row.
        group_size: None unless granularity is `group`.
        activations: inputs are rounded to int8, with one scale a token, as they come.
    """

    grid: Grid
    granularity: Literal["tensor", "channel", "group"]
    group_size: int | None
    activations: bool

    def block_size(self, outputs: int, inputs: int) -> int:
        """Weights that share one scale; they lie side by side in a matrix [outputs, inputs]."""
        return {"tensor": outputs * inputs, "channel": inputs, "group": self.group_size or 0}[self.granularity]

    def quantized(self, matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Integers [outputs, inputs] and scales: [1] of a tensor, [outputs, 1] of channels, [outputs, groups]."""
        blocks = matrix.reshape(-1, self.block_size(*matrix.shape))
        scale = symmetric(blocks, self.grid)
        shape = (1,) if self.granularity == "tensor" else (len(matrix), -1)
        return quantize(blocks, scale, self.grid).view_as(matrix), scale.view(shape)

    def dequantized(self, q: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Weights [outputs, inputs] again."""
        return dequantize(q.view(-1, self.block_size(*q.shape)), scale.view(-1, 1)).view(q.shape)

    def fake(self, matrix: torch.Tensor) -> torch.Tensor:
        """`dequantized(*quantized(matrix))`, with gradients."""
        # In fp32, in which finished weights are rounded: FSDP hands down bf16.
        blocks = matrix.float().reshape(-1, self.block_size(*matrix.shape))
        return fake_quantize(blocks, self.grid).view_as(matrix).to(matrix.dtype)

    def inputs(self, x: torch.Tensor, tokens: int) -> torch.Tensor:
        """A layer's inputs, rounded token by token where the plan says so; `tokens` is how many there are in `x`."""
        if not self.activations:
            return x
        # In fp32: autocast hands down bf16, whose scales would be off by up to 0.4 %, half a step of 127.
        return fake_quantize(x.float().reshape(tokens, -1), INT8).view_as(x).to(x.dtype)
