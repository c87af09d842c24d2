"""Models that are only read: loaded from a folder, safetensors alone, without any code of theirs."""

from __future__ import annotations

import contextlib
import functools
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from runtime.errors import DataError, RunFailed
from runtime.files import read_json
from schemas.plan import ResNetPlan

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

__all__ = ["described_resnet", "hub_folder", "load_frozen", "load_frozen_resnet", "num_parameters"]


@functools.cache
def hub_folder(name: str, revision: str | None, what: str, otherwise: str, *, offline: bool) -> Path:
    """A repository of the hub in its cache on this disk: safetensors and JSON, nothing that can hold code.

    Args:
        name: organisation/model.
        revision: commit, or None for the newest.
        what: names it in messages, such as `the teacher`.
        otherwise: ends the remedy: what to write instead.
        offline: take what the cache has, and ask nobody.

    Raises:
        RunFailed: it can't be had (RC607).
    """
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=["*.safetensors", "*.json"], local_files_only=offline
        )
    except Exception as error:  # huggingface_hub, httpx and requests have no common base
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise RunFailed(
            "RC607",
            f"{what} `{name}` can't be had from the hub: {reason}",
            "check name, revision and network (a private one needs HF_TOKEN; `launch.offline: true` forbids the network), "
            + otherwise,
        ) from error
    return Path(folder)


def load_frozen(folder: Path, what: str) -> PreTrainedModel:
    """A causal language model in evaluation mode, without gradients; safetensors only, since other formats can run code.

    Args:
        folder: with config.json and *.safetensors.
        what: names it in messages, such as `the teacher`.

    Raises:
        DataError: there is no whole model (RC401).
    """
    import torch  # here, since a run that only looks for its teacher needs none of it
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from runtime.packed_files import load_packed

    try:
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stderr(io.StringIO()):
            rounded = load_packed(folder)
            if rounded is not None:
                return cast("PreTrainedModel", rounded.eval().requires_grad_(False))
            model, found = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
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


def num_parameters(folder: Path) -> int:
    """Weights in a folder's *.safetensors, by their headers: tied ones are stored once."""
    from safetensors import safe_open

    found = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            found += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return found


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


def load_frozen_resnet(folder: Path, what: str) -> nn.Module:
    """A classifier in evaluation mode, without gradients, from a folder that recipec exported.

    Raises:
        DataError: there is no whole model (RC401).
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from runtime.classifier import PlannedResNet

    plan = described_resnet(folder, what)
    with torch.random.fork_rng(devices=[]):
        model = PlannedResNet(plan)
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _unusable(folder, what, reason, "give the export of a classifier's run") from error
    return cast("nn.Module", model.eval().requires_grad_(False))
