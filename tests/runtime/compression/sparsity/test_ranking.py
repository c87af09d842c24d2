"""Schedules against golden numbers, and masks against counts by hand."""

from __future__ import annotations

import pytest
import torch

from runtime.compression.sparsity.ranking import keep_masks, keep_two_of_four, sparsity_at

# Zhu & Gupta's cubic with n = 10; G2.1: 0 to 0.75, G2.2: 0.1 to 0.45.
FROM_ZERO = [0, 0.20325, 0.366, 0.49275, 0.588, 0.65625, 0.702, 0.72975, 0.744, 0.74925, 0.75]
FROM_A_TENTH = [0.1, 0.19485, 0.2708, 0.32995, 0.3744, 0.40625, 0.4276, 0.44055, 0.4472, 0.44965, 0.45]


@pytest.mark.parametrize(("initial", "final", "golden"), [(0.0, 0.75, FROM_ZERO), (0.1, 0.45, FROM_A_TENTH)])
def test_cubic_has_the_published_values(initial: float, final: float, golden: list[float]) -> None:
    """Steps 100, 107, ... 170 of a window of 73 steps: the three that are left over belong to the end."""
    at = [
        sparsity_at(100 + 7 * k, start=100, end=173, interval=7, initial=initial, final=final, schedule="cubic")
        for k in range(11)
    ]
    assert at == pytest.approx(golden, abs=1e-12)
    assert at[-1] == final


def test_between_two_steps_nothing_changes_and_outside_it_is_flat() -> None:
    """s_i before the start, the last step's value until the next one, s_f for ever after."""

    def at(step: int, schedule: str = "cubic") -> float:
        return sparsity_at(step, start=20, end=40, interval=10, initial=0.1, final=0.5, schedule=schedule)

    assert (at(0), at(20), at(29)) == (0.1, 0.1, 0.1)
    assert at(30) == at(39) == pytest.approx(0.5 - 0.4 / 8)
    assert (at(40), at(9999)) == (0.5, 0.5)
    assert at(30, "linear") == pytest.approx(0.3)
    assert (at(19, "oneshot"), at(20, "oneshot")) == (0.1, 0.5)


def test_the_smallest_go_and_exactly_as_many_as_asked() -> None:
    """Per layer half of each; over all layers half of all; ties are broken by place, not all cut."""
    weights = {"a": torch.tensor([[4.0, -1.0], [2.0, -3.0]]), "b": torch.tensor([[0.1, 0.1, 0.1, 9.0]])}
    layer = keep_masks(weights, 0.5, "layer")
    assert layer["a"].tolist() == [[True, False], [False, True]]
    assert layer["b"].tolist() == [[False, False, True, True]]
    across = keep_masks(weights, 0.5, "global")
    assert across["a"].tolist() == [[True, False], [True, True]]
    assert across["b"].tolist() == [[False, False, False, True]]


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_counts_are_rounded_and_what_is_gone_stays_gone(scope: str) -> None:
    """G2.3: after each step of a slope round(s n) of n are zero, and no mask gives a weight back."""
    torch.manual_seed(0)
    weights = {"a": torch.randn(17, 13), "b": torch.randn(7, 3, 3, 3)}
    before = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    for sparsity in FROM_ZERO:
        masks = keep_masks(weights, sparsity, scope)  # type: ignore[arg-type]
        for name, mask in masks.items():
            weights[name] = weights[name] * mask
            assert not (mask & before[name]).any()
            before[name] = ~mask
        zeros = {name: int((weight == 0).sum()) for name, weight in weights.items()}
        if scope == "layer":
            assert zeros == {name: round(sparsity * weight.numel()) for name, weight in weights.items()}
        else:
            assert sum(zeros.values()) == round(sparsity * sum(weight.numel() for weight in weights.values()))


def test_two_of_four_along_the_inputs_whatever_the_layer() -> None:
    """Of each four neighbouring inputs the two largest stay: columns of a Linear, rows of a Conv1D, channels of a Conv2d."""
    row = torch.tensor([[1.0, -4.0, 3.0, 2.0, 0.5, 0.1, -0.2, 0.3]])
    expected = [[False, True, True, False, True, False, False, True]]
    linear = keep_two_of_four(row, 1, 0.5)
    conv1d = keep_two_of_four(row.t(), 0, 0.5)
    conv2d = keep_two_of_four(row.view(1, 8, 1, 1).expand(1, 8, 3, 3), 1, 0.5)
    assert linear is not None
    assert conv1d is not None
    assert conv2d is not None
    assert linear.tolist() == expected
    assert conv1d.t().tolist() == expected
    assert all(conv2d[:, :, i, j].tolist() == expected for i in range(3) for j in range(3))
    assert keep_two_of_four(torch.ones(4, 6), 1, 0.5) is None


def test_two_of_four_on_a_slope_ends_at_exactly_two() -> None:
    """On the way never more than two of four are gone, the count is exact, and nothing comes back."""
    torch.manual_seed(0)
    weight = torch.randn(12, 40)
    for sparsity in (0.1, 0.3, 0.45, 0.5):
        mask = keep_two_of_four(weight, 1, sparsity)
        assert mask is not None
        assert not mask[weight == 0].any()
        weight = weight * mask
        gone = (weight == 0).view(-1, 4).sum(dim=1)
        assert int(gone.sum()) == round(sparsity * weight.numel())
        assert int(gone.max()) <= 2
    assert set(gone.tolist()) == {2}
