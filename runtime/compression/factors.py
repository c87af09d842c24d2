"""Two thin layers in place of one: truncated singular value decomposition of linear layers and convolutions.

W (m x n) ~ A B with A = U_r S_r^(1/2) (m x r), B = S_r^(1/2) V_r^T (r x n): both factors are of one scale, as Composer's
`factorize_core` makes them. By Eckart and Young ||W - A B||_F^2 is the sum of the squared singular values left out, the
least that any matrix of rank r can reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import nn

__all__ = [
    "Factorized",
    "factorized",
    "factors_of",
    "largest_rank",
    "multiplied",
    "rank_for_energy",
    "rank_for_parameters",
]


def largest_rank(outputs: int, inputs: int) -> int:
    """The largest rank r whose factors have fewer weights than the matrix: r (m + n) < m n."""
    return (outputs * inputs - 1) // (outputs + inputs)


def rank_for_parameters(outputs: int, inputs: int, share: float) -> int:
    """The largest rank whose factors have at most a share of the matrix's weights; at least 1."""
    return max(1, int(share * outputs * inputs / (outputs + inputs)))


def rank_for_energy(singular_values: torch.Tensor, share: float) -> int:
    """The smallest rank whose singular values have a share of the sum of squares.

    Args:
        singular_values: of a matrix, falling.
        share: between 0 and 1.
    """
    energy = singular_values.double().square().cumsum(0)
    return int((energy < share * energy[-1]).sum()) + 1


def factors_of(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A [outputs, rank] and B [rank, inputs], whose product is the closest matrix of that rank to [outputs, inputs]."""
    u, s, v = torch.linalg.svd(matrix.detach().float(), full_matrices=False)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * v[:rank]


class Factorized(nn.Module):
    """`up(down(x))` for one layer: `down` reads its inputs, `up` writes its outputs and has its bias.

    Of a convolution `down` has the kernel, stride and padding, and `up` is 1 x 1.
    """

    def __init__(self, layer: nn.Module, rank: int) -> None:
        """Two layers of the right shapes; their weights have no meaning until `set_factors`, or until they are loaded.

        Args:
            layer: Linear, Conv2d of one group, or GPT-2's Conv1D.
            rank: at most the smaller side of its matrix.
        """
        super().__init__()
        outputs, inputs = matrix_of(layer).shape
        bias = cast("torch.Tensor | None", layer.bias)
        self.down: nn.Module
        self.up: nn.Module
        with torch.device("meta"):
            if isinstance(layer, nn.Conv2d):
                shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
                self.down = nn.Conv2d(layer.in_channels, rank, *shape, bias=False)  # type: ignore[arg-type]
                self.up = nn.Conv2d(rank, outputs, 1, bias=bias is not None)
            else:
                self.down = nn.Linear(inputs, rank, bias=False)
                self.up = nn.Linear(rank, outputs, bias=bias is not None)
        # Not `to_empty`: what isn't loaded would differ from run to run.
        dtype = cast("torch.Tensor", layer.weight).dtype
        for part in (self.down, self.up):
            part.weight = nn.Parameter(torch.zeros(part.weight.shape, dtype=dtype))
        if bias is not None:
            self.up.bias = nn.Parameter(bias.detach().clone())
        # Not read off a weight: a factor that is rounded has none.
        self.kind, self.rank = type(layer).__name__, rank
        self.train(layer.training)

    def set_factors(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Put A [outputs, rank] and B [rank, inputs] in place."""
        with torch.no_grad():
            for part, matrix in ((self.up, a), (self.down, b)):
                weight = cast("torch.Tensor", part.weight)
                weight.copy_(matrix.reshape(weight.shape))

    @property
    def product(self) -> torch.Tensor:
        """A B in the shape in which the plain layer keeps its weight."""
        a, b = (cast("torch.Tensor", part.weight) for part in (self.up, self.down))
        matrix = a.flatten(1) @ b.flatten(1)
        return matrix.t().contiguous() if self.kind == "Conv1D" else matrix.view(len(a), *b.shape[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A (B x) + bias."""
        return cast("torch.Tensor", self.up(self.down(x)))


def matrix_of(layer: nn.Module) -> torch.Tensor:
    """A layer's weight as [outputs, inputs]; GPT-2's Conv1D keeps its transpose, a convolution its kernel's entries apart."""
    weight = cast("torch.Tensor", layer.weight)
    return weight.t() if type(layer).__name__ == "Conv1D" else weight.flatten(1)


def factorized(model: nn.Module) -> Iterator[tuple[str, Factorized]]:
    """Layers that are factors, by name."""
    for name, module in model.named_modules():
        if isinstance(module, Factorized):
            yield name, module


def multiplied(weights: Mapping[str, torch.Tensor], layers: Mapping[str, Factorized]) -> dict[str, torch.Tensor]:
    """A model's weights with the product of each pair of factors under the plain layer's name.

    Args:
        weights: its state dict.
        layers: its factors by name.
    """
    found = {name: weight for name, weight in weights.items() if not _is_factor(name, layers)}
    for name, layer in layers.items():
        found[f"{name}.weight"] = layer.product.detach()
        if (bias := weights.get(f"{name}.up.bias")) is not None:
            found[f"{name}.bias"] = bias
    return found


def _is_factor(name: str, layers: Mapping[str, Factorized]) -> bool:
    """Whether a weight is `<layer>.down.weight`, `<layer>.up.weight` or `<layer>.up.bias`."""
    return name.rpartition(".")[0].rpartition(".")[0] in layers
