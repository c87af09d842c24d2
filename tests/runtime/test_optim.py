"""Learning-rate multipliers against published numbers, and who is spared weight decay."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from runtime.lion import DecoupledLionW
from runtime.models.planned import build_untrained
from runtime.optim import build_optimizer, build_schedule, multiplier, parameter_groups
from schemas.plan import OptimizerPlan, SchedulePlan
from tests.runtime.training_case import plan_of


def schedule(**changes: Any) -> SchedulePlan:
    """A cosine with 10 steps of warmup to a tenth of the peak."""
    return SchedulePlan.model_validate(
        {"kind": "cosine", "warmup_steps": 10, "cooldown_steps": 0, "final_fraction": 0.1, **changes}
    )


def test_inverse_sqrt_has_the_published_values() -> None:
    """T = 25431, warmup and scale 1000, cooldown 5086 to zero: values computed from the formula by hand."""
    plan = schedule(kind="inverse_sqrt", warmup_steps=1000, cooldown_steps=5086, final_fraction=0.0)
    golden = {500: 0.5, 1000: 1.0, 4000: 0.5, 9000: 1 / 3, 20345: 0.221703, 22888: 0.110851, 25431: 0.0}
    assert {step: multiplier(plan, 25431, step) for step in golden} == pytest.approx(golden, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "golden"),
    [
        ("cosine", {0: 0.0, 5: 0.5, 10: 1.0, 60: 0.55, 110: 0.1}),
        ("linear", {0: 0.0, 5: 0.5, 10: 1.0, 60: 0.55, 110: 0.1}),
        ("constant", {0: 0.0, 5: 0.5, 10: 1.0, 60: 1.0, 110: 1.0}),
    ],
)
def test_shapes_rise_over_warmup_and_end_at_the_final_fraction(kind: str, golden: dict[int, float]) -> None:
    """Warmup is linear from 0; the shape then takes the remaining T - w steps."""
    assert {step: multiplier(schedule(kind=kind), 110, step) for step in golden} == pytest.approx(golden)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_formulas_are_composers(kind: str) -> None:
    """Equal to Composer's own schedulers at every step, where both exist with the same parameters."""
    from composer.core import Time, Timestamp, TimeUnit
    from composer.optim import CosineAnnealingWithWarmupScheduler, LinearWithWarmupScheduler

    kinds = {"cosine": CosineAnnealingWithWarmupScheduler, "linear": LinearWithWarmupScheduler}
    theirs = kinds[kind]("10ba", alpha_f=0.1)

    def at(step: int) -> float:
        clock = SimpleNamespace(timestamp=Timestamp(batch=step), max_duration=Time(110, TimeUnit.BATCH))
        return float(theirs(clock))

    assert [multiplier(schedule(kind=kind), 110, step) for step in range(111)] == pytest.approx(
        [at(s) for s in range(111)]
    )


def test_lion_steps_by_the_sign_and_decays_on_its_own_scale() -> None:
    """Two steps by hand: the direction mixes momentum and gradient; decay is lr / peak lr times wd, not lr times wd."""
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = DecoupledLionW([weight], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    weight.grad = torch.tensor([2.0])
    optimizer.step()
    assert weight.item() == pytest.approx(1.0 * 0.5 - 0.1)
    assert optimizer.state[weight]["exp_avg"].item() == pytest.approx(0.02)
    optimizer.param_groups[0]["lr"] = 0.05
    weight.grad = torch.tensor([-0.1])
    optimizer.step()
    # 0.9 * 0.02 - 0.1 * 0.1 > 0: momentum outweighs the gradient.
    assert weight.item() == pytest.approx(0.4 * 0.75 - 0.05)
    assert optimizer.state[weight]["exp_avg"].item() == pytest.approx(0.99 * 0.02 - 0.01 * 0.1)


def test_each_step_is_made_with_its_own_rate() -> None:
    """Step t uses multiplier(t): the rate moves on after each step, not one step late."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2.0)
    rates = build_schedule(optimizer, schedule(), 110)
    used = []
    for _ in range(20):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        rates.step()
    assert used == [2.0 * multiplier(schedule(), 110, step) for step in range(20)]
    assert math.isclose(used[10], 2.0)


def test_norms_biases_and_embeddings_keep_their_scale() -> None:
    """Only matrices of linear layers decay; the tied output layer counts as the embedding that it is."""
    model = build_untrained(plan_of())
    decayed, plain = parameter_groups(model, 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(p)].rsplit(".", 2)[-2] for p in plain["params"]} == {
        "embed_tokens", "input_layernorm", "post_attention_layernorm", "norm",
    }  # fmt: skip
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(plain["params"]) == len(names)


@pytest.mark.parametrize("kind", ["adamw", "decoupled_adamw", "decoupled_lionw", "sgd"])
def test_every_optimizer_lowers_a_loss(kind: Any) -> None:
    """Each kind is built with the plan's numbers and goes downhill."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 4)
    plan = OptimizerPlan(kind=kind, lr=0.05, betas=(0.9, 0.95), eps=1e-8, weight_decay=1e-4)
    optimizer = build_optimizer(model, plan)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (model(torch.eye(4)) - torch.eye(4)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert {group["lr"] for group in optimizer.param_groups} == {0.05}
