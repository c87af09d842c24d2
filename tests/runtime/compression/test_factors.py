"""Factors against golden ranks and Eckart and Young, and layers that become two."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from runtime.compression.factors import (
    Factorized,
    factorized,
    factors_of,
    largest_rank,
    matrix_of,
    multiplied,
    rank_for_energy,
    rank_for_parameters,
)


@pytest.mark.parametrize(("m", "n", "rank"), [(768, 768, 383), (768, 3072, 614), (4096, 4096, 2047)])
def test_break_even_ranks(m: int, n: int, rank: int) -> None:
    """m n / (m + n) is 384, 614.4 and 2048: the last rank below it has fewer weights, the next one doesn't."""
    assert largest_rank(m, n) == largest_rank(n, m) == rank
    assert rank * (m + n) < m * n <= (rank + 1) * (m + n)


@pytest.mark.parametrize(
    ("m", "n", "rank", "share"), [(768, 768, 192, 0.5), (768, 3072, 192, 0.3125), (4096, 4096, 1024, 0.5)]
)
def test_a_quarter_of_the_smaller_side(m: int, n: int, rank: int, share: float) -> None:
    """The shares of parameters that a quarter of min(m, n) has, and the rank that such a share gives."""
    assert rank * (m + n) / (m * n) == share
    assert rank_for_parameters(m, n, share) == rank


def test_nothing_of_that_rank_is_closer() -> None:
    """Eckart and Young: the squared error is the sum of the squared singular values that are left out."""
    torch.manual_seed(0)
    matrix = torch.randn(40, 24)
    a, b = factors_of(matrix, 7)
    assert (a.shape, b.shape) == ((40, 7), (7, 24))
    left_out = torch.linalg.svdvals(matrix)[7:].square().sum()
    assert (matrix - a @ b).square().sum().item() == pytest.approx(left_out.item(), rel=1e-4)
    # Both factors carry the square root of each singular value.
    assert torch.allclose(a.square().sum(dim=0), b.square().sum(dim=1), rtol=1e-4)


def test_energy_is_a_share_of_squares() -> None:
    """3, 2, 1: squares 9, 4, 1 of 14; 9/14 = 0.643 and 13/14 = 0.929."""
    values = torch.tensor([3.0, 2.0, 1.0])
    assert [rank_for_energy(values, share) for share in (0.1, 0.64, 0.65, 0.92, 0.93, 0.999)] == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(12, 20), (2, 12)),
        (nn.Linear(12, 20, bias=False), (2, 5, 12)),
        (Conv1D(20, 12), (2, 3, 12)),
        (nn.Conv2d(6, 20, 3, stride=2, padding=1), (2, 6, 9, 9)),
        (nn.Conv2d(12, 20, 1, bias=False), (2, 12, 5, 5)),
    ],
)
def test_two_layers_at_full_rank_are_the_one(layer: nn.Module, shape: tuple[int, ...]) -> None:
    """Of every kind of layer, with its bias, stride and padding; the product is the weight again."""
    torch.manual_seed(0)
    if isinstance(layer.bias, nn.Parameter):
        nn.init.normal_(layer.bias)
    matrix = matrix_of(layer)
    two = Factorized(layer, min(matrix.shape))
    two.set_factors(*factors_of(matrix, min(matrix.shape)))
    x = torch.randn(shape)
    assert torch.allclose(two(x), layer(x), atol=1e-5)
    assert two.product.shape == layer.weight.shape
    assert torch.allclose(two.product, layer.weight, atol=1e-5)  # type: ignore[arg-type]


def test_products_take_the_place_of_factors() -> None:
    """The state dict of the model that it was, which loads into it."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 12, bias=False))
    thin = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 12, bias=False))
    for name in ("0", "2"):
        two = Factorized(thin.get_submodule(name), 3)
        two.set_factors(*factors_of(matrix_of(thin.get_submodule(name)), 3))
        setattr(thin, name, two)
    state = multiplied(thin.state_dict(), dict(factorized(thin)))
    plain.load_state_dict(state)
    x = torch.randn(4, 12)
    assert torch.allclose(plain(x), thin(x), atol=1e-5)
    assert sum(p.numel() for p in thin.parameters()) == 2 * 3 * (12 + 20) + 20
