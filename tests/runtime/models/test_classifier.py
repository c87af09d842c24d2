"""Residual networks: torchvision's own where the shape is standard, counted exactly by the compiler, and their loss."""

from __future__ import annotations

import pytest
import torch
import torchvision

from runtime.errors import RunFailed
from runtime.images.batches import to_input
from runtime.models.classifier import PlannedResNet, build_resnet, classification_loss
from schemas.plan import ImagePlan, ResNetPlan
from tests.runtime.images.case import plan_of, resnet

SHAPES = [
    resnet(8), resnet(14, width=16, channels=3, image_size=32), resnet(20, norm="group", width=5), resnet(18, width=8),
    resnet(34, width=4, stem="imagenet", image_size=67), resnet(50, width=8, num_classes=3, image_size=33),
    resnet(101, width=4, stem="imagenet", image_size=64, channels=3), resnet(152, width=2, norm="group", image_size=16),
]  # fmt: skip


def macs_of(model: torch.nn.Module, plan: ResNetPlan) -> int:
    """Multiply-adds of convolutions and linear layers, by the shapes that really come out."""
    found = []

    def count(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        found.append(weight.numel() * (output.shape[2] * output.shape[3] if output.ndim == 4 else 1))

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    model(torch.zeros(1, plan.channels, plan.image_size, plan.image_size))
    return sum(found)


@pytest.mark.parametrize("plan", SHAPES, ids=lambda p: f"{p.depth}-{p.width}-{p.stem}-{p.norm}-{p.image_size}")
def test_the_compilers_counts_are_the_built_networks(plan: ResNetPlan) -> None:
    """Parameters and multiply-adds, for every kind of block, stem and norm, odd sizes too."""
    model = PlannedResNet(plan).train(mode=False)
    assert sum(weight.numel() for weight in model.parameters()) == plan.num_parameters
    assert macs_of(model, plan) == plan.macs
    assert model(torch.zeros(2, plan.channels, plan.image_size, plan.image_size)).shape == (2, plan.num_classes)


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)],
)
def test_standard_shapes_are_torchvisions(depth: int, parameters: int) -> None:
    """The same names, shapes and function: weights of one give the other's logits."""
    plan = resnet(depth, width=64, stem="imagenet", num_classes=1000, channels=3, image_size=224)  # type: ignore[arg-type]
    assert plan.num_parameters == parameters
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"resnet{depth}")()
        ours = PlannedResNet(plan)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    if depth == 18:
        theirs, images = torchvision.models.resnet18().eval(), torch.randn(2, 3, 96, 96)
        ours = PlannedResNet(plan).eval()
        ours.load_state_dict(theirs.state_dict())
        assert torch.equal(ours(images), theirs(images))


def test_weights_follow_from_the_seed_alone() -> None:
    """The same seed gives the same network whatever was drawn before; another seed another one; the generator isn't moved."""
    first = build_resnet(plan_of()).state_dict()
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    again, other = build_resnet(plan_of()).state_dict(), build_resnet(plan_of(seed=18)).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_another_number_of_parameters_is_refused() -> None:
    """A plan of another version whose count isn't the network's."""
    wrong = resnet().model_copy(update={"num_parameters": 1})
    with pytest.raises(RunFailed, match="the plan has 1 parameters"):
        build_resnet(plan_of(model=wrong))


def test_loss_by_hand() -> None:
    """Two classes, logits 0 and log 3: cross entropy -log 0.25; smoothed by 0.2, a tenth of it is for the other class."""
    logits, labels = torch.tensor([[0.0, float(torch.log(torch.tensor(3.0)))]]), torch.tensor([0])
    plain = classification_loss(logits, labels, 0.0)
    assert set(plain) == {"total"}
    assert float(plain["total"]) == pytest.approx(1.386294)  # log 4
    smooth = classification_loss(logits, labels, 0.2)
    assert float(smooth["cross_entropy"]) == pytest.approx(1.386294)
    assert float(smooth["total"]) == pytest.approx(0.9 * 1.386294 + 0.1 * 0.287682)
    assert classification_loss(logits.bfloat16(), labels, 0.0)["total"].dtype == torch.float32


def test_images_are_normalised_channel_by_channel() -> None:
    """Black and white at mean 0.5 and deviation 0.5 are -1 and 1; channels come first, each with its own constants."""
    black_and_white = torch.tensor([[[[0], [255]]]], dtype=torch.uint8).numpy()
    grey = to_input(black_and_white, ImagePlan(size=2, channels=1, mean=(0.5,), std=(0.5,)))
    assert grey.tolist() == [[[[-1.0, 1.0]]]]
    red = torch.tensor([[[[255, 0, 0]]]], dtype=torch.uint8).numpy()
    found = to_input(red, ImagePlan(size=1, channels=3, mean=(0.0, 0.5, 0.5), std=(1.0, 0.5, 0.25)))
    assert found.flatten().tolist() == [1.0, -1.0, -2.0]
