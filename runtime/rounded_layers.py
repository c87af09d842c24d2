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

from runtime.rounding import Rounding

__all__ = ["FakeRounding", "RoundedLayer", "roundable", "rounded_layers", "to_matrix"]

_KINDS = ("Linear", "Conv1D", "Conv2d")
_WHOLE = ("lm_head", "fc")
"""Output layers, which are often tied to the embedding; and a ResNet's."""


def roundable(model: nn.Module, exclude: tuple[str, ...]) -> dict[str, nn.Module]:
    """Layers that are rounded, by name: all linear ones and convolutions but the output layer and a network's first layer.

    Args:
        model: a causal LM or a ResNet.
        exclude: names that stay whole: `down_proj` means that layer of every block, `layers.0.mlp` a part of one.
    """
    names = [f".{name}." for name in (*exclude, *_WHOLE)]
    found = {name: module for name, module in model.named_modules() if type(module).__name__ in _KINDS}
    # The first convolution reads the image itself: 3 channels, 0.1 % of the weights.
    return {
        name: module
        for name, module in found.items()
        if name != "conv1" and not any(said in f".{name}." for said in names)
    }


def to_matrix(layer: nn.Module) -> torch.Tensor:
    """A layer's weight as [outputs, inputs]."""
    weight = cast("torch.Tensor", layer.weight)
    return weight.t() if type(layer).__name__ == "Conv1D" else weight.flatten(1)


def _applied(layer: nn.Module, matrix: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    """What a layer computes with a matrix [outputs, inputs] in its weight's place."""
    if isinstance(layer, nn.Conv2d):
        shape = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
        return layer._conv_forward(x, matrix.view(shape), bias)
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
        return _applied(layer, rounding.fake(to_matrix(layer)), bias, rounding.inputs(x, _tokens(layer, x)))

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
            quantized, scale = rounding.quantized(to_matrix(layer).detach())
        self.rounding = rounding
        self.shape = tuple(cast("torch.Tensor", layer.weight).shape)
        self.register_buffer("quantized", quantized.contiguous())
        self.register_buffer("scale", scale)
        self.bias = cast("nn.Parameter | None", layer.bias)
        layer.weight = layer.bias = None
        # Not a submodule, since its parameters are ours now. It still knows what kind it is, its strides and padding.
        self._plain = [layer]

    @property
    def matrix(self) -> torch.Tensor:
        """The rounded weight, [outputs, inputs]."""
        return self.rounding.dequantized(self.quantized, self.scale)

    @property
    def weight(self) -> torch.Tensor:
        """The rounded weight in the shape in which the plain layer stores it."""
        matrix = self.matrix
        return matrix.t().contiguous() if type(self._plain[0]).__name__ == "Conv1D" else matrix.view(self.shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the plain layer computes with the rounded weight; inputs are rounded too where the plan says so."""
        plain = self._plain[0]
        return _applied(plain, self.matrix.to(x.dtype), self.bias, self.rounding.inputs(x, _tokens(plain, x)))


def rounded_layers(model: nn.Module) -> Mapping[str, RoundedLayer]:
    """The rounded layers of a model that is shipped, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, RoundedLayer)}
