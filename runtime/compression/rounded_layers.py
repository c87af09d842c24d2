"""Layers with rounded weights: as they are trained (fake quantisation) and as they are shipped (integers and scales).

A weight is looked at as a matrix [outputs, inputs], whatever its layer stores: a Linear stores it so, GPT-2's Conv1D its
transpose, a convolution [outputs, channels, height, width], of which all but the first make up the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from runtime.compression.factors import matrix_of
from runtime.compression.rounding import Rounding
from runtime.compression.sparsity.layers import prunable

__all__ = [
    "FakeRounding",
    "RoundedLayer",
    "plain_model",
    "replace_layer",
    "roundable",
    "rounded_layers",
]


def roundable(model: nn.Module, exclude: tuple[str, ...]) -> dict[str, nn.Module]:
    """Layers that are rounded, by name: linear ones and convolutions inside the blocks.

    Embeddings and output layers, which are often one, norms, and a ResNet's first convolution and last layer stay whole.

    Args:
        model: a causal LM or a ResNet.
        exclude: names that stay whole too: `down_proj` means that layer of every block, `layers.0.mlp` a part of one.
    """
    return prunable(dict(model.named_modules()), "all", exclude)


def _applied(layer: nn.Module, matrix: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    """What a layer computes with a matrix [outputs, inputs] in its weight's place."""
    if isinstance(layer, nn.Conv2d):
        shape = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
        return cast("torch.Tensor", layer._conv_forward(x, matrix.view(shape), bias))
    return functional.linear(x, matrix, bias)


def _tokens(layer: nn.Module, x: torch.Tensor) -> int:
    """Vectors of features in a layer's input; an image counts as one."""
    return len(x) if isinstance(layer, nn.Conv2d) else x.numel() // x.shape[-1]


class FakeRounding:
    """Stands in a layer's `forward`: from the moment it is switched on, the layer sees its weight and inputs rounded.

    The layer keeps its class, its parameters and their names, so that checkpoints, masks and averages know nothing of it.
    """

    def __init__(self, layer: nn.Module, rounding: Rounding) -> None:
        self._layer, self._rounding = layer, rounding
        self.active = False

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """What the layer computes; as if this weren't here until it is switched on."""
        layer, rounding = self._layer, self._rounding
        if not self.active:
            return cast("torch.Tensor", type(layer).forward(layer, x))
        bias = cast("torch.Tensor | None", layer.bias)
        return _applied(layer, rounding.fake(matrix_of(layer)), bias, rounding.inputs(x, _tokens(layer, x)))

    def install(self) -> None:
        """Stand in the layer's `forward`."""
        self._layer.forward = self

    @staticmethod
    def all_of(model: nn.Module) -> Iterator[FakeRounding]:
        """Those that are installed in a model."""
        for module in model.modules():
            if isinstance(module.__dict__.get("forward"), FakeRounding):
                yield module.__dict__["forward"]

    @staticmethod
    def remove_all(model: nn.Module) -> None:
        """Leave plain layers with the weights that were trained."""
        for module in model.modules():
            if isinstance(module.__dict__.get("forward"), FakeRounding):
                del module.__dict__["forward"]


class RoundedLayer(nn.Module):
    """A layer whose weight is integers and scales; the forward pass makes numbers of them again."""

    quantized: torch.Tensor
    scale: torch.Tensor

    def __init__(self, layer: nn.Module, rounding: Rounding) -> None:
        """Round a layer.

        Args:
            layer: gives its weight away, and is not to be used any more.
            rounding: grid and granularity.
        """
        super().__init__()
        with torch.no_grad():
            quantized, scale = rounding.quantized(matrix_of(layer).detach())
        self.rounding, self.kind = rounding, type(layer).__name__
        self.shape = tuple(cast("torch.Tensor", layer.weight).shape)
        self.register_buffer("quantized", quantized.contiguous())
        self.register_buffer("scale", scale)
        self.bias = cast("nn.Parameter | None", layer.bias)
        for name in ("weight", "bias"):
            layer.register_parameter(name, None)
        # Not a submodule, since its parameters are ours now. It still knows what kind it is, its strides and padding.
        self._plain = [layer]

    @property
    def matrix(self) -> torch.Tensor:
        """The rounded weight, [outputs, inputs]."""
        return self.rounding.dequantized(self.quantized, self.scale)

    def plain(self) -> nn.Module:
        """The layer that this one was made of, with the rounded weight."""
        matrix, layer = self.matrix, self._plain[0]
        weight = matrix.t().contiguous() if self.kind == "Conv1D" else matrix.view(self.shape)
        layer.register_parameter("weight", nn.Parameter(weight, requires_grad=False))
        layer.register_parameter("bias", self.bias)
        return layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the plain layer computes with the rounded weight; inputs are rounded too where the plan says so."""
        plain = self._plain[0]
        return _applied(plain, self.matrix.to(x.dtype), self.bias, self.rounding.inputs(x, _tokens(plain, x)))


def replace_layer(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Put a layer in another one's place."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)


def plain_model(model: nn.Module) -> nn.Module:
    """A model that is shipped, changed in place: plain layers again, with the rounded weights."""
    for name, layer in rounded_layers(model).items():
        replace_layer(model, name, layer.plain())
    return model


def rounded_layers(model: nn.Module) -> Mapping[str, RoundedLayer]:
    """The rounded layers of a model that is shipped, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, RoundedLayer)}
