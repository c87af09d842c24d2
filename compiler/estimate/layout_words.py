"""The layout of a run from the words and numbers of a table: degrees, ZeRO stage, pipeline chunks, sequence parallelism."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from compiler.catalogue import Device
from compiler.estimate import software
from compiler.estimate.workload import Layout, Shape, Sharding

__all__ = ["degrees_of", "layout_of"]

_DEGREES: Final = ("tp", "pp", "cp", "dp", "ep")
_DATA_ONLY: Final = re.compile(r"fsdp|hsdp|ddp|zero|single|full_shard|grad_op|^none$|distributed", re.IGNORECASE)
_STAGES: Final[tuple[tuple[str, Sharding], ...]] = (
    (r"fsdp=true|full_shard|zero-?3", "full"),
    (r"grad_op|zero-?2", "gradients"),
    (r"zero-?1|dist-opt|distributed ?(?:opt|adam)|fsdp=(?:0|false)", "optimizer"),
    (r"fsdp|hsdp", "full"),
    (r"\bddp\b|^none$", "none"),
)
# "FSDP2 64", "FSDP256", "FSDP=64": the first 2 of "FSDP2 64" is a version.
_SHARDS: Final = re.compile(r"\b[fh]sdp(?:2(?= \d))? ?=?(\d+)\b", re.IGNORECASE)


def degrees_of(text: str, number: Callable[[str], int | None]) -> dict[str, int] | str:
    """Parallel degrees (`tp`, `pp`, `cp`, `dp`, `ep`) and devices (`n`), or why they do not follow.

    Args:
        text: the words on the layout, such as `3D: DP32 ZeRO-1 TP2 PP4`.
        number: reads a column of the row; None where it is empty.
    """
    if "not stated" in text:
        return f"the layout is {text!r}"
    degrees: dict[str, int | None] = {}
    for name in _DEGREES:
        found = re.search(rf"\b{name}\s*=?\s*(\d{{1,7}})\b", text, re.IGNORECASE)
        degrees[name] = number(name) or (int(found[1]) or None if found else None)
    devices = number("n_gpus")
    plain = devices == 1 or not text or _DATA_ONLY.search(text) is not None
    if not plain and all(degrees[name] is None for name in ("tp", "pp", "dp")):
        return f"tensor and pipeline degrees are not given (layout {text!r})"
    split = (degrees["tp"] or 1) * (degrees["pp"] or 1) * (degrees["cp"] or 1)
    data = degrees["dp"] or (devices // split if devices else None)
    devices = devices or (data * split if data else None)
    if devices is None or data is None:
        return "the number of GPUs is not given"
    if data * split != devices:
        return f"degrees multiply to {data * split}, not to {devices} GPUs"
    return {name: degrees[name] or 1 for name in _DEGREES} | {"dp": data, "n": devices}


def layout_of(
    stack: str, cells: Mapping[str, str], degrees: Mapping[str, int], device: Device, shape: Shape
) -> Layout | str:
    """How the model lies on the devices, or why it cannot.

    Args:
        stack: the software.
        cells: `sharding`, `act_ckpt`, `notes` and `model` of the row.
        degrees: of `degrees_of`.
        device: of the row.
        shape: of the row's model.
    """
    text = cells["sharding"]
    tensor, pipeline = degrees["tp"], degrees["pp"]
    if pipeline > shape.layers or tensor > shape.heads:
        return f"{shape.layers} layers and {shape.heads} heads do not fill the layout {text!r}"
    sharding, degree = _sharding(stack, text, degrees["dp"], device)
    sequence = re.search(r"SP=on|\+ ?SP\b", f"{text} {cells['act_ckpt']}") is not None
    return Layout(
        devices=degrees["n"],
        per_node=device.per_node,
        data=degrees["dp"],
        tensor=tensor,
        pipeline=pipeline,
        context=degrees["cp"],
        expert=min(degrees["ep"], degrees["dp"] * degrees["cp"] * tensor),
        sharding=sharding,
        shard_degree=degree,
        virtual_stages=min(_chunks(cells), shape.layers // pipeline) if pipeline > 1 else 1,
        # NeMo's and torchtitan's tensor-parallel recipes split norms and residuals too.
        sequence_parallel=tensor > 1 and (sequence or stack in ("nemo", "torchtitan", "automodel")),
    )


def _chunks(cells: Mapping[str, str]) -> int:
    """Model chunks of a stage: "VP5", or a note "interleaving m=3", which may name the models that it holds for."""
    if found := re.search(r"\bVP(\d{1,4})\b", cells["sharding"]):
        return max(1, int(found[1]))
    found = re.search(r"interleaving m=(\d{1,4})(?: for ((?:[\d.]+[BMT](?: and |, )?)+))?", cells["notes"])
    if not found:
        return 1
    named = re.findall(r"[\d.]+[BMT]", found[2] or "")
    return max(1, int(found[1])) if not named or any(size in cells["model"] for size in named) else 1


def _sharding(stack: str, text: str, data: int, device: Device) -> tuple[Sharding, int]:
    """What the data axis shares, and the devices that share one copy."""
    stage = next((name for pattern, name in _STAGES if re.search(pattern, text, re.IGNORECASE)), None)
    stage = stage or software.habitual_sharding(stack)
    degree = data
    if found := re.search(r"zero1=(\d{1,7})", text):
        degree = int(found[1])
    elif re.search(r"hsdp", text, re.IGNORECASE):
        degree = device.per_node  # hybrid sharding: shared inside a machine, copied across machines
    elif stage == "full" and (found := _SHARDS.search(text)):
        degree = int(found[1])
    degree = max(1, min(degree, data))
    return ("none", 1) if stage == "none" or data == 1 else (stage, degree)
