"""The classifier of a plan: torchvision's ResNet built from its dimensions, and how Composer trains it.

build_resnet(plan)     random weights, the same on every rank and machine
Classifier(model)      the same network as Composer sees it: batch -> logits -> loss
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from composer.metrics.nlp import LanguageCrossEntropy
from composer.models import ComposerModel
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from runtime.errors import RunFailed
from runtime.models.forward import logits_of
from schemas.plan import ObjectivePlan, ResNetPlan, RunPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torchmetrics import Metric

__all__ = ["Classifier", "PlannedResNet", "build_resnet", "classification_loss", "load_weights"]

_GROUPS = 32
"""Wu & He 2018, section 3.1."""


class PlannedResNet(ResNet):  # type: ignore[misc]  # torchvision has no types
    """torchvision's ResNet with the plan's stages, width, stem and norm; weights keep torchvision's names.

    With four stages, width 64, the large stem, batch norm and three channels it is torchvision's own, weight by weight.
    """

    def __init__(self, plan: ResNetPlan) -> None:
        nn.Module.__init__(self)
        block = BasicBlock if plan.block == "basic" else Bottleneck
        self._norm_layer = _norm(plan)
        # What torchvision's own parts read while they are made.
        self.inplanes, self.dilation, self.groups, self.base_width = plan.width, 1, 1, 64
        if plan.stem == "imagenet":
            self.conv1 = nn.Conv2d(plan.channels, plan.width, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(plan.channels, plan.width, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = self._norm_layer(plan.width)
        self.relu = nn.ReLU(inplace=True)
        for stage in range(4):
            made: nn.Module = nn.Identity()
            if stage < len(plan.blocks):
                made = self._make_layer(block, plan.width << stage, plan.blocks[stage], stride=1 if stage == 0 else 2)
            setattr(self, f"layer{stage + 1}", made)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(self.inplanes, plan.num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """He initialisation, as torchvision's."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
                nn.init.constant_(module.weight, 1)
                nn.init.constant_(module.bias, 0)


def _norm(plan: ResNetPlan) -> Callable[..., nn.Module]:
    return nn.BatchNorm2d if plan.norm == "batch" else partial(_group_norm)


def _group_norm(channels: int) -> nn.GroupNorm:
    """32 groups, or as many as divide the channels."""
    return nn.GroupNorm(math.gcd(_GROUPS, channels), channels)


def build_resnet(plan: RunPlan) -> PlannedResNet:
    """The network before training, in fp32 on the CPU; its weights are a function of the plan and its seed alone.

    Raises:
        RunFailed: it has another number of parameters than the plan (RC901).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        model = PlannedResNet(plan.resnet)
    found = sum(parameter.numel() for parameter in model.parameters())
    if found != plan.model.num_parameters:
        raise RunFailed(
            "RC901",
            f"the plan has {plan.model.num_parameters:,} parameters, the resnet built has {found:,}",
            "compile the recipe again with this version; if it stays, please report it",
        )
    return model


def load_weights(model: PlannedResNet, weights: Mapping[str, torch.Tensor]) -> None:
    """Load weights, of which the blocks may have fewer channels than planned: pruning took them out.

    Args:
        model: changed in place.
        weights: by torchvision's names.

    Raises:
        RuntimeError: they are of another network.
    """
    planned = model.state_dict()
    for name, tensor in weights.items():
        old = planned.get(name)
        if old is None or old.shape == tensor.shape or not _is_part(tensor.shape, old.shape):
            continue
        layer, _, key = name.rpartition(".")
        if not any(part.isdigit() for part in layer.split(".")):
            continue  # only blocks lose channels
        module = model.get_submodule(layer)
        empty = torch.empty(tensor.shape, dtype=old.dtype)
        setattr(module, key, nn.Parameter(empty) if key in module._parameters else empty)
        if isinstance(module, nn.GroupNorm) and key == "weight":  # whole groups are gone
            module.num_groups, module.num_channels = len(empty) * module.num_groups // module.num_channels, len(empty)
    model.load_state_dict(dict(weights))


def _is_part(shape: torch.Size, whole: torch.Size) -> bool:
    """Whether a tensor may be what is left of another: as many dimensions, none longer."""
    return len(shape) == len(whole) and all(0 < left <= size for left, size in zip(shape, whole, strict=True))


def classification_loss(logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float) -> dict[str, torch.Tensor]:
    """Mean cross entropy in fp32, against targets of which a share is spread over all classes (Szegedy et al. 2016).

    Args:
        logits: [batch, classes], any float format.
        labels: [batch].
        label_smoothing: the share; 0 is none.

    Returns:
        `total`, and `cross_entropy` against the labels alone where they differ; nats per image.
    """
    values = logits.float()
    cross_entropy = functional.cross_entropy(values, labels)
    if label_smoothing == 0:
        return {"total": cross_entropy}
    total = functional.cross_entropy(values, labels, label_smoothing=label_smoothing)
    return {"total": total, "cross_entropy": cross_entropy.detach()}


class Classifier(ComposerModel):  # type: ignore[misc]  # composer has no types
    """A classifier for Composer. A batch is {"pixel_values": [b, c, h, w] float32, "labels": [b] int64}; outputs are logits."""

    def __init__(self, model: nn.Module, objective: ObjectivePlan, num_classes: int) -> None:
        super().__init__()
        self.model = model
        self._label_smoothing, self._num_classes = objective.label_smoothing, num_classes

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits, [batch, classes]."""
        return logits_of(self.model, batch)

    def loss(self, outputs: torch.Tensor, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What is minimised; see `classification_loss`."""
        return classification_loss(outputs, batch["labels"], self._label_smoothing)

    def get_metrics(self, is_train: bool) -> dict[str, Metric]:
        """Held-out cross entropy, every image alike, and accuracy; while training the loss itself is enough."""
        if is_train:
            return {}
        from torchmetrics.classification import MulticlassAccuracy

        return {"loss": LanguageCrossEntropy(), "accuracy": MulticlassAccuracy(self._num_classes, average="micro")}

    def update_metric(self, batch: dict[str, torch.Tensor], outputs: torch.Tensor, metric: Metric) -> None:
        """Add a held-out batch."""
        metric.update(outputs.float(), batch["labels"])

    def eval_forward(self, batch: dict[str, torch.Tensor], outputs: Any = None) -> torch.Tensor:
        """Logits of a held-out batch."""
        return cast("torch.Tensor", outputs if outputs is not None else self(batch))
