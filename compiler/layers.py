"""The linear layers and convolutions inside a model's blocks, and what can be removed of them: names and sizes, without torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple

from schemas.plan import ModelPlan, ResNetPlan

__all__ = ["Layer", "Structure", "body_layers", "is_excluded", "narrowed", "structures"]

_NORM_GROUPS: Final = 32
"""Of group norm (Wu & He 2018, section 3.1), or as many as divide the channels; runtime/models/classifier.py has the same."""

Group = Literal["mlp", "attention", "block"]


class Layer(NamedTuple):
    """A matrix [outputs, inputs]; a convolution's inputs are channels times the entries of its kernel."""

    name: str
    group: Group
    outputs: int
    inputs: int
    positions: int
    """Times that it is applied for one token or image."""
    fours: bool
    """Whether its inputs come in fours."""

    @property
    def weights(self) -> int:
        """Without its bias."""
        return self.outputs * self.inputs


class Structure(NamedTuple):
    """Channels of an MLP, attention heads, or inner channels of a residual block, which are removed together."""

    group: Group
    layers: tuple[str, ...]
    """All write the units, but for the last, which reads them."""
    sides: tuple[int, ...]
    """Of each layer, its outputs (of the last its inputs) that go with one unit; 0 for norms."""
    size: int
    weights: int
    """Of one unit, biases and norms included."""
    shared: int
    """Counted twice where a unit goes and one of the structure before it in the same block, which reads them."""
    one_size: bool
    """Whether a number in the model's configuration says the size for all blocks, so that all must stay equal."""


def body_layers(model: ModelPlan | ResNetPlan) -> tuple[Layer, ...]:
    """All of them by the names that the built model gives them; not embeddings, first convolution and output layer."""
    return tuple(_convolutions(model) if isinstance(model, ResNetPlan) else _linear(model))


def structures(model: ModelPlan | ResNetPlan) -> tuple[Structure, ...]:
    """What structured pruning can remove. A group of channels that share a norm's mean is one unit."""
    return tuple(_residual(model) if isinstance(model, ResNetPlan) else _of_decoder(model))


def narrowed(layers: Iterable[Layer], gone: Iterable[tuple[Structure, int]]) -> tuple[Layer, ...]:
    """Layers without the outputs and inputs of units.

    Args:
        layers: whole.
        gone: structures, and how many of their units go.
    """
    writes: dict[str, int] = {}
    reads: dict[str, int] = {}
    for structure, units in gone:
        *into, last = zip(structure.layers, structure.sides, strict=True)
        writes |= {name: units * side for name, side in into}
        reads[last[0]] = units * last[1]
    found = []
    for layer in layers:
        inputs = layer.inputs - reads.get(layer.name, 0)
        found.append(
            layer._replace(outputs=layer.outputs - writes.get(layer.name, 0), inputs=inputs, fours=inputs % 4 == 0)
        )
    return tuple(found)


def is_excluded(name: str, exclude: Sequence[str]) -> bool:
    """Whether a pattern names the layer: `down_proj` in every block, `layers.0.mlp` a part of one, or the whole name with *."""
    return any(fnmatchcase(name, pattern) if "*" in pattern else f".{pattern}." in f".{name}." for pattern in exclude)


def _linear(model: ModelPlan) -> Iterator[Layer]:
    h, f = model.hidden_size, model.intermediate_size
    kv = h // model.num_heads * model.num_kv_heads
    shapes: dict[str, tuple[int, int]]
    if model.family == "gpt2":
        block, shapes = "transformer.h", {"attn.c_attn": (3 * h, h), "attn.c_proj": (h, h)}
        shapes |= {"mlp.c_fc": (f, h), "mlp.c_proj": (h, f)}
    else:
        block = "model.layers"
        shapes = {f"self_attn.{key}_proj": (rows, h) for key, rows in (("q", h), ("k", kv), ("v", kv), ("o", h))}
        shapes |= {"mlp.gate_proj": (f, h), "mlp.up_proj": (f, h), "mlp.down_proj": (h, f)}
    for number in range(model.num_layers):
        for name, (outputs, inputs) in shapes.items():
            group: Group = "mlp" if name.startswith("mlp") else "attention"
            yield Layer(f"{block}.{number}.{name}", group, outputs, inputs, 1, inputs % 4 == 0)


def _of_decoder(model: ModelPlan) -> Iterator[Structure]:
    h, f = model.hidden_size, model.intermediate_size
    groups, head = model.num_kv_heads, h // model.num_heads
    for number in range(model.num_layers):
        if model.family == "gpt2":
            names = tuple(f"transformer.h.{number}.attn.{key}" for key in ("c_attn", "c_proj"))
            weights = 3 * head * (h + 1) + head * h
            yield Structure("attention", names, (3 * head, head), model.num_heads, weights, 0, one_size=False)
            names = tuple(f"transformer.h.{number}.mlp.{key}" for key in ("c_fc", "c_proj"))
            yield Structure("mlp", names, (1, 1), f, 2 * h + 1, 0, one_size=True)
            continue
        queries = head * (model.num_heads // groups)
        names = tuple(f"model.layers.{number}.self_attn.{key}_proj" for key in "qkvo")
        sides = (queries, head, head, queries)
        yield Structure("attention", names, sides, groups, 2 * h * (queries + head), 0, one_size=True)
        names = tuple(f"model.layers.{number}.mlp.{key}_proj" for key in ("gate", "up", "down"))
        yield Structure("mlp", names, (1, 1, 1), f, 3 * h, 0, one_size=True)


class _Block(NamedTuple):
    name: str
    inputs: int
    planes: int
    before: int
    """Height and width of what comes in."""
    size: int
    """Height and width of what goes out."""
    projects: bool


def _blocks(model: ResNetPlan) -> Iterator[_Block]:
    """The residual blocks, as torchvision builds and names them."""
    expansion = 4 if model.block == "bottleneck" else 1
    size, inputs = model.image_size, model.width
    for _ in range(2 if model.stem == "imagenet" else 0):
        size = (size + 1) // 2
    for stage, count in enumerate(model.blocks):
        planes = model.width << stage
        for number in range(count):
            before = size
            shrinks = stage > 0 and number == 0
            size = (size + 1) // 2 if shrinks else size
            projects = shrinks or inputs != planes * expansion
            yield _Block(f"layer{stage + 1}.{number}", inputs, planes, before, size, projects)
            inputs = planes * expansion


def _convolutions(model: ResNetPlan) -> Iterator[Layer]:
    bottleneck = model.block == "bottleneck"

    def layer(name: str, kernel: int, outputs: int, inputs: int, size: int) -> Layer:
        return Layer(name, "block", outputs, inputs * kernel**2, size**2, inputs % 4 == 0)

    for b in _blocks(model):
        out = 4 * b.planes if bottleneck else b.planes
        if bottleneck:
            yield layer(f"{b.name}.conv1", 1, b.planes, b.inputs, b.before)
            yield layer(f"{b.name}.conv2", 3, b.planes, b.planes, b.size)
            yield layer(f"{b.name}.conv3", 1, out, b.planes, b.size)
        else:
            yield layer(f"{b.name}.conv1", 3, b.planes, b.inputs, b.size)
            yield layer(f"{b.name}.conv2", 3, b.planes, b.planes, b.size)
        if b.projects:
            yield layer(f"{b.name}.downsample.0", 1, out, b.inputs, b.size)


def _residual(model: ResNetPlan) -> Iterator[Structure]:
    """Each channel has a norm's scale and shift."""
    for b in _blocks(model):
        size = math.gcd(_NORM_GROUPS, b.planes) if model.norm == "group" else b.planes
        each = b.planes // size
        first = (f"{b.name}.conv1", f"{b.name}.bn1", f"{b.name}.conv2")
        sides = (each, 0, 9 * each)
        kernel = 9 if model.block == "basic" else 1
        weights = each * (kernel * b.inputs + 2 + 9 * b.planes)
        yield Structure("block", first, sides, size, weights, 0, one_size=False)
        if model.block == "bottleneck":
            second = (f"{b.name}.conv2", f"{b.name}.bn2", f"{b.name}.conv3")
            weights = each * (9 * b.planes + 2 + 4 * b.planes)
            yield Structure("block", second, (each, 0, each), size, weights, 9 * each**2, one_size=False)
