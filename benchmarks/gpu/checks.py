"""The checks: each one a recipe, the run of it that is measured, and what its measure is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from benchmarks.gpu.shapes import Scale

__all__ = ["CHECKS", "Check", "Kind", "Recipe", "recipe_of"]

Recipe = dict[str, Any]
Kind = Literal["train", "resume", "export"]


@dataclass(frozen=True)
class Check:
    """One row of the table.

    Args:
        name: of the row.
        keys: scale -> keys of the measured run, merged over what all checks share.
        kind: train: its steps are timed; resume: it is killed, goes on and is compared; export: what it ships is loaded.
        base: whether it starts from an earlier run, which all such checks share.
        precision: that it asks a GPU for; a CPU computes in fp32.
        shards: whether the model is laid out by FSDP over the one device, which no plan would choose.
        seconds: after which it is given up.
    """

    name: str
    keys: Callable[[Scale], Recipe]
    kind: Kind = "train"
    base: bool = False
    precision: str = "bf16"
    shards: bool = False
    seconds: float = 90.0


def _middle(**training: Any) -> Callable[[Scale], Recipe]:
    """The middle-sized model, with keys of `training`."""
    return lambda scale: {"model": scale.middle, "training": {"batch": f"{scale.batch} tok", **training}}


def _large(scale: Scale) -> Recipe:
    return {"model": scale.large(), "training": {"batch": f"{scale.large_batch} tok"}}


def _compiled(scale: Scale) -> Recipe:
    """torch.compile, which takes a minute on a machine without a cache and seconds of Triton's kernels after that."""
    return _middle(**({"compile": True} if scale.on_gpu else {}))(scale)


def _adapted(**adapter: Any) -> Callable[[Scale], Recipe]:
    return lambda _: {"model": {"start": {"run": "base"}}, "training": {"adapter": {"rank": 16, **adapter}}}


def _compressed(*techniques: Recipe) -> Callable[[Scale], Recipe]:
    """The base's weights trained on under techniques that make them smaller."""
    return lambda _: {"model": {"start": {"run": "base"}}, "compression": [dict(each) for each in techniques]}


def _taught(_: Scale) -> Recipe:
    """The base teaches the same model from random weights in every step."""
    return {"distillation": {"teacher": {"run": "base"}, "weight": 0.5, "end": "1dur"}}


def _lengthened(scale: Scale) -> Recipe:
    warmup = {"kind": "sequence_length_warmup", "start_length": scale.length // 4, "duration": "1dur"}
    return {**_middle()(scale), "data": {"curriculum": warmup}}


def _averaged(scale: Scale) -> Recipe:
    return {**_middle()(scale), "averaging": {"half_life": "4ba"}}


def _images(scale: Scale) -> Recipe:
    model, image, batch = scale.resnet
    return {"model": model, "data": {"image": image}, "training": {"batch": batch}}


def _small(scale: Scale) -> Recipe:
    return {"model": scale.small, "training": {"batch": f"{scale.small_batch} tok"}}


def _saved(scale: Scale) -> Recipe:
    """Four checkpoints, so that a kill strikes between two."""
    return {**_small(scale), "checkpoints": {"export": False, "interval": "0.25dur", "keep": 2}}


def _shipped(**quantization: Any) -> Callable[[Scale], Recipe]:
    def keys(scale: Scale) -> Recipe:
        technique = {"kind": "quantization", **quantization}
        return {**_small(scale), "compression": [technique], "checkpoints": {"export": True, "export_dtype": "fp32"}}

    return keys


_PRUNING: Final = {"kind": "pruning", "sparsity": 0.5, "start": "0dur", "end": "0.5dur", "interval": "2ba"}
_QAT: Final = {"kind": "quantization", "mode": "qat", "weights": "int8", "start": "0dur"}

CHECKS: Final[Mapping[str, Check]] = {
    check.name: check
    for check in (
        Check("llama-1b", _large, seconds=120.0),
        Check("bf16", _middle()),
        Check("fp16", _middle(), precision="fp16"),
        Check("fp8", _middle(), precision="fp8"),
        Check("lora", _adapted(), base=True),
        Check("qat-int8", _compressed(_QAT), base=True),
        Check("distillation", _taught, base=True),
        Check("checkpointing", _middle(activation_checkpointing=True)),
        Check("fsdp", _middle(), shards=True),
        Check("resume", _saved, kind="resume", seconds=150.0),
        Check("export-int8", _shipped(mode="qat", weights="int8", start="0dur"), kind="export", seconds=120.0),
        Check("export-int4", _shipped(mode="ptq", weights="int4", group_size=32), kind="export", seconds=120.0),
        Check("qlora", _adapted(base="nf4"), base=True),
        Check("resnet", _images),
        Check("fp32", _middle(), precision="fp32"),
        Check("sequence-length-warmup", _lengthened),
        Check("pruning", _compressed(_PRUNING), base=True),
        Check("ema", _averaged),
        Check("not-deterministic", _middle(deterministic=False)),
        Check("bf16-compiled", _compiled, seconds=150.0),
        Check("fp8-compiled", _compiled, precision="fp8", seconds=150.0),
    )
}
"""By name, in the order in which they are made: what is asked for first comes first, so that a cut call still answers it."""


def recipe_of(check: Check, scale: Scale, steps: int) -> Recipe:
    """The whole recipe of a check: what all share, a run `base` where it begins with one, and the run that is measured."""
    keys = check.keys(scale)
    data = {"data": {**({} if "image" in keys.get("data", {}) else _text(scale)), **keys.pop("data", {})}}
    training = {**keys.pop("training", {}), "duration": f"{steps}ba"}
    measured = {**keys, "training": training}
    common = _common(scale, check.precision)
    if "image" in data["data"]:
        data["data"]["sources"] = {"digits": {"builtin": "digits"}}
        return {"name": f"gpu-{check.name}", "objective": "classification", **common, **data, **measured}
    common["tokenizer"] = scale.tokenizer
    if not check.base:
        return {"name": f"gpu-{check.name}", **common, **data, **_optimizer(measured)}
    shared = {"name": "gpu", **common, **data, **_optimizer(_middle()(scale))}
    runs = [{"name": "base", "training": {"duration": f"{max(2, steps // 6)}ba"}}, {"name": check.name, **measured}]
    return {**shared, "sequence": runs}


def _optimizer(keys: Recipe) -> Recipe:
    training = {"optimizer": {"lr": 1e-3}, "gradient_clipping": {"kind": "norm", "threshold": 1.0}}
    return {**keys, "training": {**training, **keys.get("training", {})}}


def _text(scale: Scale) -> Recipe:
    """CPython's library and documentation: real text, and all machines have it."""
    return {
        "sequence_length": scale.length,
        "sources": {"code": {"builtin": "cpython-library"}, "prose": {"builtin": "cpython-docs"}},
        "mixture": [{"from": "0dur", "weights": {"code": 0.8, "prose": 0.2}}],
    }


def _common(scale: Scale, precision: str) -> Recipe:
    launch: Recipe = {"workers": 2 if scale.on_gpu else 0}
    if scale.threads is not None:
        launch["threads"] = scale.threads
    return {
        "hardware": {"gpu": scale.gpu, "count": 1},
        "precision": precision if scale.on_gpu else "fp32",
        "evaluation": {"interval": "1dur", "max_tokens": f"{4 * scale.length} tok"},
        "checkpoints": {"export": False, "interval": "1dur", "keep": 1},
        "logging": {"console": False, "interval": "1ba"},
        "launch": launch,
    }
