"""Trained weights that a run begins with, from a folder or the hub: found, pinned and compared with the plan."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from runtime.data.locate import find_folder
from runtime.errors import DataError, RunFailed
from runtime.layout import Layout
from runtime.lineage import reads_like, trained_key
from runtime.models.class_names import check_classes
from runtime.models.folders import check_tokenizer, content, hub_folder
from runtime.models.frozen import described_resnet, load_frozen, load_resnet
from schemas.plan import RunPlan, StartPlan

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

__all__ = ["base_content", "check_start", "folder_of_start", "load_start", "start_content"]

# Of a configuration, what trained weights were trained with, by its names in transformers 4 and 5. The rest is the recipe's to
# choose (dropout), or has no part in a forward pass. Shapes are compared when weights are loaded.
_TRAINED_WITH: Final = (
    "model_type", "hidden_act", "activation_function", "num_attention_heads", "num_key_value_heads", "n_head", "head_dim",
    "num_hidden_layers", "n_layer", "rms_norm_eps", "layer_norm_epsilon", "rope_theta", "rope_scaling", "rope_parameters",
    "tie_word_embeddings", "attention_bias", "mlp_bias", "scale_attn_weights", "scale_attn_by_inverse_layer_idx",
    "quantization_config",
)  # fmt: skip
_SHAPE: Final = ("block", "blocks", "width", "stem", "norm", "num_classes", "channels")
"""Of a classifier, what its weights were trained with; the size of images and compilation are the recipe's to choose."""
_REMEDY: Final = "compile the recipe again where the folder is at hand; it then says what can't be started from"


def folder_of_start(plan: RunPlan, roots: tuple[Path, ...]) -> Path | None:
    """The folder that a plan's weights come from, fetched from the hub where they come from there; None where from a run.

    Raises:
        DataError: there is no such folder, or no weights in it that can be read (RC401).
        RunFailed: the hub can't be reached (RC607).
    """
    start = plan.start
    if start is None or start.kind == "run":
        return None
    if start.hub is not None:
        otherwise = "or give their folder as `model.start.folder`"
        offline = plan.execution.offline
        return _with_weights(hub_folder(start.hub, start.revision, "the weights", otherwise, offline=offline), start)
    folder = find_folder(start.folder or "", roots)
    if folder is None:
        looked = ", ".join(str(root) for root in roots)
        message = f"there are no weights `{start.folder}`; looked in {looked}"
        raise DataError("RC401", message, "check `model.start.folder`")
    return _with_weights(folder, start)


def _with_weights(folder: Path, start: StartPlan) -> Path:
    if any(folder.glob("*.safetensors")):
        return folder
    others = sorted(path.name for path in folder.iterdir() if path.suffix in {".gguf", ".bin", ".pt", ".pth", ".h5"})
    found = f", only {', '.join(others[:3])}, which are not read" if others else ""
    raise DataError(
        "RC401",
        f"the weights `{start.folder or start.hub}` in {folder} have no *.safetensors{found}",
        "save the model with transformers' `save_pretrained` (a classifier is exported by its own run), and give that folder as "
        "`model.start.folder`",
    )


def start_content(plan: RunPlan, layout: Layout) -> Any:
    """What pins the weights that a run begins with: hashes of a folder's files, or the key of a run's training.

    Raises:
        DataError, RunFailed: as `folder_of_start` and `trained_key`.
    """
    if plan.start is not None and plan.start.kind == "run":
        return trained_key(str(plan.start.run), plan, layout)
    folder = folder_of_start(plan, layout.roots)
    return None if folder is None else _content(folder, _stamp(folder))


def base_content(plan: RunPlan, layout: Layout) -> dict[str, str] | None:
    """sha256 of each file of the weights from outside that a plan's model goes back to; None where it began at random.

    Raises:
        DataError, RunFailed: as `folder_of_start`.
    """
    first = reads_like(plan)
    found = None if first.start is None else start_content(first, layout)
    return found if isinstance(found, dict) else None


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of a folder's files."""
    return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.iterdir()))


@functools.lru_cache(maxsize=8)
def _content(folder: Path, stamp: tuple[tuple[str, int, int], ...]) -> dict[str, str]:  # noqa: ARG001  # part of the key
    """Hashes of a folder's files, read once a process while nothing changes: about a second a gigabyte."""
    return content(folder)


def check_start(plan: RunPlan, layout: Layout, tokenizer: Path | None, classes: Sequence[str] = ()) -> None:
    """Refuse a start whose token ids mean other words than the run's tokenizer, or whose outputs stand for other classes.

    Args:
        plan: of the run.
        layout: whose roots a folder is looked up in.
        tokenizer: the run's folder of it; None of a classifier.
        classes: names of a classifier's classes, in the order of their numbers.

    Raises:
        DataError: the vocabularies (RC406) or classes (RC416) differ.
    """
    folder = folder_of_start(plan, layout.roots)
    if folder is None:
        return
    if tokenizer is None:
        check_classes(folder, "the start", classes)
    else:
        check_tokenizer(folder, tokenizer, "the start")


def load_start(plan: RunPlan, layout: Layout, eos_token_id: int | None = None) -> nn.Module:
    """The model in the start's folder, in fp32 with gradients, with the plan's attention and dropout.

    Each process reads the files itself: on one machine the second reader gets them from memory, and a broadcast of whole
    weights would need them on the first GPU before FSDP has shared them out.

    Raises:
        DataError: it can't be read (RC401), or computes something else than the plan's model (RC406).
        RunFailed: the hub can't be reached (RC607).
    """
    from runtime.models.decoder import model_config  # here, since a run whose training is reused needs no torch

    folder = folder_of_start(plan, layout.roots)
    if folder is None:
        raise RunFailed("RC901", f"the run {plan.name} starts from no folder", "please report it with plan.yaml")
    if plan.is_classifier:
        return _load_classifier(plan, folder)
    read = load_frozen(folder, "the start")
    wanted = model_config(plan.decoder, eos_token_id)
    _check(plan, folder, read, wanted)
    # A model of the plan's own configuration: dropout, attention and positions are the recipe's.
    model = type(read)._from_config(wanted, attn_implementation=plan.decoder.attention).float()
    try:
        model.load_state_dict(read.float().state_dict())
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError("RC406", f"the model in {folder} is not the plan's: {reason}", _REMEDY) from error
    return cast("nn.Module", model.train().requires_grad_(True))


def _load_classifier(plan: RunPlan, folder: Path) -> nn.Module:
    """A residual network, as `export` writes it: model.safetensors with torchvision's names, and mostly a config.json."""
    wanted = plan.resnet
    if (folder / "config.json").is_file():
        theirs = described_resnet(folder, "the start")
        odd = [key for key in _SHAPE if getattr(theirs, key) != getattr(wanted, key)]
        differing = "; ".join(
            f"its {key} is {getattr(theirs, key)!r}, the plan's {getattr(wanted, key)!r}" for key in odd
        )
        if differing:
            raise DataError("RC406", f"the model in {folder} is not the plan's: {differing}", _REMEDY)
    model = load_resnet(folder, "the start", wanted)
    if sum(parameter.numel() for parameter in model.parameters()) != wanted.num_parameters:
        message = f"the model in {folder} has lost channels to pruning, and a plan's network has all of them"
        raise DataError(
            "RC406", message, "start from the run that pruned it, which still has zeros: `start: {run: ...}`"
        )
    return model


def _check(plan: RunPlan, folder: Path, read: PreTrainedModel, wanted: PretrainedConfig) -> None:
    """Refuse weights that don't fit the plan, or that would compute something else in its model."""
    found = sum(parameter.numel() for parameter in read.parameters())
    if found != plan.decoder.num_parameters:
        message = f"the plan has {plan.decoder.num_parameters:,} parameters, the model in {folder} has {found:,}"
        raise DataError("RC406", message, _REMEDY)
    differing = differences(read.config.to_dict(), wanted.to_dict())
    if differing:
        raise DataError("RC406", f"the model in {folder} is not the plan's: {'; '.join(differing)}", _REMEDY)


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[str, ...]:
    """What a configuration says otherwise than the plan's, of all that trained weights were trained with."""
    return tuple(
        f"its {name} is {theirs.get(name)!r}, the plan's {ours.get(name)!r}"
        for name in _TRAINED_WITH
        if not _alike(theirs.get(name), ours.get(name))
    )


def _alike(one: Any, other: Any) -> bool:
    """Equal, but for the last bits of a number that was written as text, and `false` for what isn't said at all."""
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-9)
    return (one or None) == (other or None)
