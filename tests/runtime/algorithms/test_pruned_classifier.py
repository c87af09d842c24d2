"""Pruning of residual networks, and pruning beside quantisation: real trainers on digits and on text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from runtime.compression.rounded_layers import rounded_layers
from runtime.compression.shipping import counts, load_shipped
from runtime.compression.sparsity.layers import prunable
from runtime.errors import DataError
from runtime.models.forward import logits_of
from runtime.models.frozen import load_frozen_resnet
from runtime.models.model_files import write_loadable
from runtime.models.planned import load_trained
from runtime.models.start import load_start
from runtime.reporting import classifier_card
from schemas.plan import StartPlan
from tests.runtime import training_case
from tests.runtime.images.case import layout_of, plan_of, resnet, train

SLOPE = {"start_token": 32, "end_token": 4 * 32}
SPEC: dict[str, Any] = {"kind": "pruning", "window": SLOPE, "sparsity": 0.5, "scope": "layer", "interval_steps": 1}
QAT: dict[str, Any] = {
    "kind": "quantization", "window": {"start_token": 512, "end_token": 6 * 512}, "mode": "qat", "weights": "int8",
    "granularity": "channel", "group_size": None, "activations": "none", "exclude": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the digits are prepared once, and every run has its folder."""
    return tmp_path_factory.mktemp("digits")


@pytest.mark.parametrize("method", ["magnitude", "2:4", "structured"])
def test_half_of_the_convolutions_weights_are_zero(folder: Path, method: str) -> None:
    """Projections of the residual stream keep theirs unless single weights go."""
    plan = plan_of(name=f"pruned-{method.replace(':', '')}", algorithms=[{**SPEC, "method": method}])
    train(plan, folder)
    left = load_trained(plan, layout_of(plan, folder))
    shares = {
        name: 1 - counts(layer)[1] / counts(layer)[0] for name, layer in prunable(dict(left.named_modules())).items()
    }
    inner = {name: share for name, share in shares.items() if "downsample" not in name or method == "magnitude"}
    assert set(inner.values()) == {0.5}


@pytest.mark.parametrize(("norm", "width"), [("batch", 4), ("group", 24)])
def test_channels_are_taken_out_and_the_cards_lines_load_what_is_left(
    folder: Path, tmp_path: Path, norm: str, width: int
) -> None:
    """The same logits from fewer weights; torchvision alone builds the network and loads them.

    Of 24, 48 and 96 channels a norm makes 8, 16 and 32 groups of three.
    """
    model = resnet(norm=norm, width=width)
    plan = plan_of(name=f"structured-{norm}", model=model, algorithms=[{**SPEC, "method": "structured"}])
    train(plan, folder)
    trained, small = (
        load_trained(plan, layout_of(plan, folder)).eval(),
        load_shipped(plan, layout_of(plan, folder)).eval(),
    )
    form = plan.data.image
    assert form is not None
    pixels = torch.rand(3, form.channels, form.size, form.size) * 255
    batch = {"pixel_values": pixels / 255}
    with torch.no_grad():
        expected = logits_of(small, batch)
        assert (logits_of(trained, batch) - expected).abs().max() < 1e-5
    assert counts(small)[0] < 0.7 * counts(trained)[0]
    write_loadable(small, tmp_path, plan)
    code = classifier_card.use(plan, ()).partition("```python\n")[2].partition("```")[0]
    made: dict[str, Any] = {}
    exec(code.replace("model.safetensors", str(tmp_path / "model.safetensors")), made)
    with torch.no_grad():
        loaded = made["model"](batch["pixel_values"])
    assert torch.equal(loaded, expected)
    # As a teacher or a reference it is read too; nobody begins with it.
    with torch.no_grad():
        assert torch.equal(logits_of(load_frozen_resnet(tmp_path, "the teacher"), batch), expected)
    begun = StartPlan(kind="folder", run=None, fingerprint=None, folder=str(tmp_path), hub=None, revision=None)
    with pytest.raises(DataError, match="has lost channels to pruning"):
        load_start(plan.model_copy(update={"start": begun}), layout_of(plan, folder))


def test_pruned_and_rounded_in_one_run(tmp_path: Path) -> None:
    """Channels that are zero are taken out, what is left is rounded; zeros of masks survive fake quantisation."""
    window = {"start_token": 512, "end_token": 4 * 512}
    pruning = {**SPEC, "window": window, "method": "structured"}
    plan = training_case.plan_of(6, algorithms=[pruning, QAT])
    training_case.train(plan, tmp_path)
    layout = training_case.layout_of(plan, tmp_path)
    trained, small = load_trained(plan, layout), load_shipped(plan, layout)
    assert {1 - counts(layer)[1] / counts(layer)[0] for layer in prunable(dict(trained.named_modules())).values()} == {
        0.5
    }
    layers = rounded_layers(small)
    assert {tuple(layer.quantized.shape) for name, layer in layers.items() if "up_proj" in name} == {(32, 32)}
    batch = {"input_ids": torch.arange(64).view(2, 32)}
    with torch.no_grad():
        assert (logits_of(trained.eval(), batch) - logits_of(small.eval(), batch)).abs().max() < 0.02
