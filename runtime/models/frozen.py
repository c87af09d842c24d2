"""Models that are only read: loaded from a folder, safetensors alone, without any code of theirs."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from runtime.errors import DataError
from runtime.files import read_json
from schemas.plan import ResNetPlan

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from runtime.models.classifier import PlannedResNet

__all__ = ["described_resnet", "load_frozen", "load_frozen_resnet", "load_resnet"]


def load_frozen(folder: Path, what: str) -> PreTrainedModel:
    """A causal language model in evaluation mode, without gradients; safetensors only, since other formats can run code.

    Args:
        folder: with config.json and *.safetensors.
        what: names it in messages, such as `the teacher`.

    Raises:
        DataError: there is no whole model (RC401).
    """
    import torch  # here, since a run that only looks for its teacher needs none of it
    from transformers import AutoModelForCausalLM

    from runtime.compression.packed_files import load_packed

    try:
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stderr(io.StringIO()):
            rounded = load_packed(folder)
            if rounded is not None:
                return cast("PreTrainedModel", rounded.eval().requires_grad_(False))
            model, found = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
    except Exception as error:  # whatever transformers stumbles over in a config.json that others wrote
        raise _unusable(folder, what, " ".join(str(error).split())[:200] or type(error).__name__) from error
    if missing := sorted(found["missing_keys"]):
        # transformers would draw them at random.
        reason = f"its files lack {len(missing)} of the weights that config.json asks for: {missing[0]}"
        raise _unusable(folder, what, reason)
    return cast("PreTrainedModel", model.eval().requires_grad_(False))


def _unusable(
    folder: Path, what: str, reason: str, remedy: str = "give a Hugging Face folder with config.json and *.safetensors"
) -> DataError:
    return DataError("RC401", f"{what} in {folder} can't be loaded: {reason}", remedy)


def described_resnet(folder: Path, what: str) -> ResNetPlan:
    """Dimensions of a classifier in a folder that recipec exported.

    Raises:
        DataError: there is none (RC401).
    """
    try:
        return ResNetPlan.model_validate(read_json(folder / "config.json"))
    except ValidationError as error:
        reason = "its config.json is not that of a resnet that recipec exported"
        raise _unusable(folder, what, reason, "give the export of a classifier's run") from error


def load_resnet(folder: Path, what: str, plan: ResNetPlan) -> PlannedResNet:
    """The classifier of these dimensions with a folder's weights, in fp32 with gradients; its blocks may have fewer channels.

    Raises:
        DataError: there are no whole weights of that network (RC401).
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from runtime.models.classifier import PlannedResNet, load_weights

    with torch.random.fork_rng(devices=[]):
        model = PlannedResNet(plan)
    try:
        load_weights(model, load_file(folder / "model.safetensors"))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _unusable(folder, what, reason, "give the export of a classifier's run") from error
    return model


def load_frozen_resnet(folder: Path, what: str) -> nn.Module:
    """A classifier in evaluation mode, without gradients, from a folder that recipec exported.

    Raises:
        DataError: there is no whole model (RC401).
    """
    model = load_resnet(folder, what, described_resnet(folder, what))
    return cast("nn.Module", model.eval().requires_grad_(False))
