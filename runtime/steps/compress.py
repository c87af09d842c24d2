"""The step `compress`: what techniques make of the finished model, written, and measured beside what it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.files import atomic_folder, hash_file
from runtime.precision import measuring_device
from runtime.steps.base import Context, Inputs
from schemas.plan import RunPlan, Step

if TYPE_CHECKING:
    import torch

__all__ = ["identity", "run"]

_FORMAT: Final = 1


def identity(step: Step, context: Context, inputs: Inputs) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """The trained weights are an input; what becomes of them, and in which number format, comes from the plan."""
    plan = context.plan
    return {
        "format": _FORMAT,
        "model": plan.model.model_dump(mode="json"),
        "algorithms": [spec.model_dump(mode="json") for spec in plan.algorithms],
        "checkpoints": plan.checkpoints.model_dump(mode="json", include={"export_dtype", "max_shard_bytes"}),
        "precision": plan.precision.model_dump(mode="json"),
    }


def run(step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """Write `<run>/compressed`, and measure the finished model before and after.

    Returns:
        parameters, nonzero (weights that aren't zero), bytes (of the weights' files) and tokens_per_s (forward passes on this
        machine's device), each {before, after}; techniques: by kind, what each did; folder, files with their sha256.

    Raises:
        RunFailed: there is no trained model (RC606), or the disk is full (RC604).
    """
    import torch

    from runtime.algorithms import facts
    from runtime.compression.shipping import counts, in_export_dtype, load_shipped, tokens_per_s
    from runtime.models.model_files import write_smallest
    from runtime.models.planned import load_trained

    plan, layout = context.plan, context.layout
    device = measuring_device(plan)
    models = [load_trained(plan, layout), load_shipped(plan, layout)]
    parameters, nonzero = zip(*(counts(model) for model in models), strict=True)
    speeds = tokens_per_s([torch.nn.Module.to(model, device) for model in models], _batch(plan, device), plan)
    trained, shipped = (in_export_dtype(model.cpu(), plan) for model in models)
    whole_bytes = _size_of(trained, plan, folder / "uncompressed")
    done = facts(plan, shipped)
    with atomic_folder(layout.compressed, replace=lambda: True) as target:
        write_smallest(shipped, target, plan)
    return {
        "parameters": _change(parameters),
        "nonzero": _change(nonzero),
        "bytes": _change((whole_bytes, _bytes_of(layout.compressed))),
        "tokens_per_s": _change(speeds),
        "techniques": done,
        "folder": layout.compressed.name,
        "files": {path.name: hash_file(path) for path in sorted(layout.compressed.iterdir())},
    }


def _change(values: Sequence[float]) -> dict[str, float]:
    before, after = values
    return {"before": before, "after": after}


def _batch(plan: RunPlan, device: torch.device) -> Mapping[str, torch.Tensor]:
    """A microbatch of the training's size, of random tokens or images: which they are doesn't change the time."""
    import torch

    generator = torch.Generator().manual_seed(plan.seed)
    if plan.is_classifier:
        size = plan.resnet.image_size
        images = torch.rand(plan.training.microbatch, plan.resnet.channels, size, size, generator=generator)
        return {"pixel_values": images.to(device)}
    shape = (plan.training.microbatch, plan.data.sequence_length)
    return {"input_ids": torch.randint(plan.decoder.vocab_size, shape, generator=generator).to(device)}


def _size_of(model: torch.nn.Module, plan: RunPlan, folder: Path) -> int:
    """Bytes that the weights take on a disk without compression: written as the export would be, and removed."""
    import shutil

    from runtime.files import disk_errors
    from runtime.models.model_files import write_smallest

    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_smallest(model, folder, plan)
            return _bytes_of(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
