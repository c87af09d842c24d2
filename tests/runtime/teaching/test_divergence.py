"""Divergences against numbers by hand: golden values, limits, invariances, and what is lost where the largest parts are kept."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from runtime.algorithms.distillation import distilled
from runtime.teaching.divergence import divergence, mean_over, mixed, positions, top_k, top_k_divergence
from schemas.techniques.distillation import Divergence

STUDENT, TEACHER = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[3.0, 2.0, 1.0]])
ALL: tuple[Divergence, ...] = ("kl", "reverse_kl", "mse")


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A student's and two teachers', [4, 8, 50]."""
    generator = torch.Generator().manual_seed(3)
    student, one, other = (torch.randn(4, 8, 50, generator=generator) * 3 for _ in range(3))
    return student, one, other


@pytest.mark.parametrize(
    ("temperature", "expected"), [(1.0, 1.1504208), (2.0, 1.2806267), (4.0, 1.3196299), (100.0, 1.3333111)]
)
def test_golden_divergences_of_three_classes(temperature: float, expected: float) -> None:
    """z_s = (1, 2, 3), z_t = (3, 2, 1): T^2 KL hardly moves with T, and tends to 4/3."""
    assert divergence("kl", STUDENT, TEACHER, temperature).item() == pytest.approx(expected, abs=2e-6)


def test_golden_loss_of_hinton() -> None:
    """With w = 0.9 and T = 4 on class 0: 0.9 * 1.3196299 + 0.1 * 2.4076060."""
    hard = functional.cross_entropy(STUDENT, torch.tensor([0]))
    mixture = distilled({"total": hard}, divergence("kl", STUDENT, TEACHER, 4.0).mean(), 0.9)
    assert hard.item() == pytest.approx(2.4076060, abs=1e-6)
    assert mixture["total"].item() == pytest.approx(1.4284275, abs=1e-6)
    assert mixture["cross_entropy"].item() == hard.item()
    assert mixture["distillation"].item() == pytest.approx(1.3196299, abs=1e-6)


def test_golden_divergence_of_two_classes_and_its_direction() -> None:
    """KL(softmax(2, 0) || 1/2) = ln 2 - H(0.8808); the other way round is another number, which reverse_kl is."""
    teacher, student = torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2)
    assert divergence("kl", student, teacher, 1.0).item() == pytest.approx(0.327813, abs=1e-6)
    p = 1 / (1 + math.exp(-2.0))
    backwards = 0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / (1 - p))
    assert divergence("kl", teacher, student, 1.0).item() == pytest.approx(backwards, abs=1e-6)
    assert divergence("reverse_kl", student, teacher, 1.0).item() == pytest.approx(backwards, abs=1e-6)
    assert abs(backwards - 0.327813) > 0.1


def test_squared_error_is_the_limit_of_high_temperature(
    logits: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    """1/(2C) sum of squared differences of centred logits: 4/3 for the golden ones, kl and reverse_kl at T = 10^4."""
    assert divergence("mse", STUDENT, TEACHER, 1.0).item() == pytest.approx(4 / 3, abs=1e-6)
    student, teacher, _ = (each.double().float() for each in logits)
    squared = divergence("mse", student, teacher, 1.0)
    for loss in ("kl", "reverse_kl"):
        assert torch.allclose(divergence(loss, student, teacher, 300.0), squared, rtol=0.02)


@pytest.mark.parametrize("loss", ALL)
def test_equal_logits_and_constants(loss: Divergence, logits: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    """Nothing between equals; a constant for all logits of a position changes nothing; never below zero."""
    student, teacher, _ = logits
    assert divergence(loss, student, student, 3.0).abs().max() < 1e-5
    plain = divergence(loss, student, teacher, 2.0)
    shifted = divergence(loss, student + 5.0, teacher - torch.arange(32.0).view(4, 8, 1), 2.0)
    assert torch.allclose(plain, shifted, atol=1e-3)
    assert (plain >= 0).all()


def test_mean_is_over_positions_whatever_the_batch(logits: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    """Twice as long samples of the same positions have the same loss: torch's `batchmean` of three dimensions has twice it."""
    student, teacher, _ = logits
    long = mean_over(divergence("kl", student.view(2, 16, 50), teacher.view(2, 16, 50), 1.0), None)
    short = mean_over(divergence("kl", student, teacher, 1.0), None)
    flat = mean_over(divergence("kl", student.view(32, 50), teacher.view(32, 50), 1.0), None)
    assert long.item() == short.item() == flat.item()
    wrong = functional.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="batchmean")
    assert wrong.item() == pytest.approx(8 * short.item(), rel=1e-4)


@pytest.mark.parametrize("loss", ALL)
def test_one_random_teacher_is_all_of_them_on_average(
    loss: Divergence, logits: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
) -> None:
    """The gradient towards the mean of teachers is the mean of the gradients towards each; of one, its own."""
    student, *teachers = logits

    def gradient(target: torch.Tensor) -> torch.Tensor:
        leaf = student.clone().requires_grad_(True)
        torch.autograd.backward(mean_over(divergence(loss, leaf, target, 2.0), None))
        assert leaf.grad is not None
        return leaf.grad

    both = gradient(mixed(teachers, loss, 2.0))
    apart = torch.stack([gradient(teacher) for teacher in teachers]).mean(0)
    assert torch.allclose(both, apart, atol=1e-7)
    assert mixed(teachers[:1], loss, 2.0) is teachers[0]


@pytest.mark.parametrize("loss", ["kl", "reverse_kl"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_all_parts_kept_are_the_live_teacher(
    loss: Divergence, temperature: float, logits: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
) -> None:
    """With k = vocabulary value and gradient are those of the whole distributions."""
    student, teacher, _ = logits
    kept = top_k(teacher, 50, temperature)
    leaves = [student.clone().requires_grad_(True) for _ in range(2)]
    values = (
        top_k_divergence(loss, leaves[0], kept, temperature).mean(),
        divergence(loss, leaves[1], teacher, temperature).mean(),
    )
    torch.autograd.backward(list(values))
    assert values[0].item() == pytest.approx(values[1].item(), abs=1e-5)
    assert leaves[0].grad is not None
    assert torch.allclose(leaves[0].grad, leaves[1].grad, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", ["kl", "reverse_kl"])
def test_merging_parts_never_adds_divergence(
    loss: Divergence, logits: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
) -> None:
    """The more parts are kept, the closer to the whole, from below; gradients are finite all along."""
    student, teacher, _ = logits
    student = student.clone().requires_grad_(True)
    whole = divergence(loss, student, teacher, 1.0)
    before = torch.zeros_like(whole)
    for k in (1, 4, 16, 49, 50):
        value = top_k_divergence(loss, student, top_k(teacher, k, 1.0), 1.0)
        assert (value >= before - 1e-5).all()
        assert (value <= whole + 1e-5).all()
        (gradient,) = torch.autograd.grad(value.sum(), student)
        assert gradient.isfinite().all()
        before = value.detach()
    assert torch.allclose(before, whole, atol=1e-5)


def test_rest_is_what_the_kept_parts_leave(logits: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    """Probability of all others, and 0 where none is left; scores fall from 0."""
    teacher = logits[1]
    kept = top_k(teacher, 5, 2.0)
    probabilities = (teacher / 2.0).softmax(-1)
    assert torch.allclose(kept.rest, 1 - probabilities.gather(-1, kept.ids).sum(-1), atol=1e-6)
    assert (kept.scores[..., 0] == 0).all()
    assert (kept.scores.diff(dim=-1) <= 0).all()
    assert (top_k(teacher, 99, 2.0).rest == 0).all()


def test_padding_teaches_nothing() -> None:
    """A position counts if neither its token nor the one it foretells is padding; the last foretells nothing that is seen."""
    ids = torch.tensor([[5, 6, 0, 0], [7, 8, 9, 4]])
    counted = positions(ids, padding=0)
    assert counted.view(2, 4).tolist() == [[True, False, False, False], [True, True, True, True]]
    values = torch.tensor([1.0, 100.0, float("inf"), 100.0, 2.0, 3.0, 4.0, 5.0])
    assert mean_over(values, counted).item() == 3.0
    assert mean_over(values, torch.zeros(8, dtype=torch.bool)).item() == 0.0
