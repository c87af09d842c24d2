"""The parts of a classifier's model card that a language model's doesn't have: loading, shape, table of classes."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from schemas.plan import ImagePlan, ResNetPlan, RunPlan
from schemas.units import format_count

__all__ = ["evaluation", "introduction", "limits", "rows", "use"]

_STANDARD: Final = (18, 34, 50, 101, 152)
_MOST_CLASSES: Final = 20
"""A larger table of classes would be the card; the report has all of them."""


def introduction(plan: RunPlan) -> str:
    """What it is, in one sentence."""
    return (
        f"A residual network of {format_count(plan.model.num_parameters)} parameters that tells "
        f"{plan.resnet.num_classes:,} classes of images apart, trained on {format_count(plan.budget.tokens)} images. Made by "
        f"recipec from the plan `{plan.fingerprint}`."
    )


def use(plan: RunPlan, classes: Sequence[str]) -> str:
    """Lines that load it with torchvision alone, and what it takes and gives."""
    form, model = plan.data.image, plan.resnet
    assert form is not None
    channels_removed = any(
        (spec.kind == "pruning" and spec.method == "structured") or (spec.kind == "low_rank" and bool(spec.removes))
        for spec in plan.algorithms
    )
    code = "\n".join(_lines(model, form, fewer_channels=channels_removed))
    named = f" Classes in the order of the outputs: {', '.join(map(_text, classes))}." if classes else ""
    return (
        f"```python\n{code}\n```\n\n`predict` takes pixels from 0 to 255, [batch, {form.channels}, {form.size}, {form.size}] "
        f"({'red, green, blue' if form.channels == 3 else 'grey'}; other sizes scaled bilinearly), and gives a score for each of "
        f"{model.num_classes:,} classes.{named}"
    )


def _lines(model: ResNetPlan, form: ImagePlan, *, fewer_channels: bool = False) -> Iterator[str]:
    """Python that builds the network from torchvision's parts and loads the weights."""
    block = "BasicBlock" if model.block == "basic" else "Bottleneck"
    plain = model.width == 64 and len(model.blocks) == 4 and model.depth in _STANDARD
    yield from ("import torch", "from safetensors.torch import load_file", "from torchvision.models import resnet")
    norm = ""
    if model.norm == "group":
        yield from ("", "def norm(channels): return torch.nn.GroupNorm(__import__('math').gcd(32, channels), channels)")
        norm = ", norm_layer=norm"
    yield ""
    blocks = list(model.blocks) if plain else [1, 1, 1, 1]
    yield f"model = resnet.ResNet(resnet.{block}, {blocks}, num_classes={model.num_classes}{norm})"
    kernel = "7, stride=2, padding=3" if model.stem == "imagenet" else "3, padding=1"
    if not plain or model.stem != "imagenet" or model.channels != 3:
        yield f"model.conv1 = torch.nn.Conv2d({model.channels}, {model.width}, {kernel}, bias=False)"
    if model.stem != "imagenet":
        yield "model.maxpool = torch.nn.Identity()"
    if not plain:
        yield f"model.bn1, model.inplanes = model._norm_layer({model.width}), {model.width}"
        for stage in range(4):
            if stage < len(model.blocks):
                stride = "" if stage == 0 else ", stride=2"
                made = f"model._make_layer(resnet.{block}, {model.width << stage}, {model.blocks[stage]}{stride})"
            else:
                made = "torch.nn.Identity()"
            yield f"model.layer{stage + 1} = {made}"
        yield f"model.fc = torch.nn.Linear(model.inplanes, {model.num_classes})"
    if fewer_channels:  # than the network was built with: tensors take their places with the shapes that they have
        yield 'for name, tensor in load_file("model.safetensors").items():  # in this folder'
        yield "    layer, _, key = name.rpartition('.')"
        yield "    layer = model.get_submodule(layer)"
        yield "    if key in layer._parameters: tensor = torch.nn.Parameter(tensor)"
        yield "    setattr(layer, key, tensor)"
        if model.norm == "group":
            yield "    if key == 'weight' and isinstance(layer, torch.nn.GroupNorm):  # whole groups are gone"
            yield "        layer.num_groups = len(tensor) * layer.num_groups // layer.num_channels"
            yield "        layer.num_channels = len(tensor)"
    else:
        yield 'model.load_state_dict(load_file("model.safetensors"))  # in this folder'
    yield "model.eval()"
    mean, std = ([round(value, 6) for value in values] for values in (form.mean, form.std))
    yield f"mean, std = (torch.tensor(values)[:, None, None] for values in ({mean}, {std}))"
    yield ""
    yield "def predict(pixels): return model((pixels.float() / 255 - mean) / std)"


def rows(plan: RunPlan) -> list[tuple[str, str]]:
    """Shape of the network and of its images, for the table."""
    model = plan.resnet
    return [
        ("parameters", f"{model.num_parameters:,}"),
        ("multiply-adds of an image", f"{model.macs:,}"),
        ("layers, blocks", f"{model.depth}, {' + '.join(str(n) for n in model.blocks)} {model.block}"),
        ("channels of the first stage, stem, norm", f"{model.width}, {model.stem}, {model.norm}"),
        ("classes", f"{model.num_classes:,}"),
        ("images", f"{model.channels} x {model.image_size} x {model.image_size}"),
        ("batch", f"{plan.training.global_batch_samples:,} images"),
    ]


def evaluation(measured: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows: accuracy and loss of each source, and of each class of a source that has few."""
    found: list[tuple[str, ...]] = []
    for name, source in measured["sources"].items():
        before, after = source["untrained"], source["trained"]
        found.append(
            (
                name,
                f"{source['tokens']:,}",
                f"{before['accuracy']:.2%}",
                f"{after['accuracy']:.2%}",
                f"{after['loss']:.4f}",
            )
        )
        classes, table = source["classes"], source["confusion"]
        for number, of_class in enumerate(classes if len(classes) <= _MOST_CLASSES else ()):
            images = sum(table[number])
            right = f"{table[number][number] / images:.2%}" if images else "-"
            found.append((f"{name}: class {_text(of_class)}", f"{images:,}", "", right, ""))
    return ("held-out source", "images", "right untrained", "right", "nats per image"), found


def _text(name: str) -> str:
    """The name of a folder, which Markdown would take for HTML."""
    return html.escape(name, quote=False)


def limits() -> str:
    """What nobody knows of it."""
    return (
        "It knows no other classes: every image is taken for one of them. It was measured on held-out images of the same sources "
        "alone: nothing is known of other cameras, places or people. The rights in the data decide what it may be used for; this "
        "card grants none."
    )
