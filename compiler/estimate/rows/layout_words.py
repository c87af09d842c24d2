"""The layout of a run from the words and numbers of a table: degrees, ZeRO stage, pipeline chunks, sequence parallelism."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from compiler.catalogue import Device
from compiler.estimate.rows import software
from compiler.estimate.workload import Layout, Shape, Sharding

__all__ = ["degrees_of", "layout_of"]

_DEGREES: Final = ("tp", "pp", "cp", "dp", "ep")
# Words of each degree; "tensor=8" is MaxText's, "tensor parallel 8" anybody's. Data has no long word: "data=1 fsdp=64".
_WORDS: Final = {"tp": "tp|tensor", "pp": "pp|pipeline", "cp": "cp|context", "dp": "dp", "ep": "ep|expert"}
_LONG: Final = r"(?:[ _-]?(?:model[ _-])?parallel(?:ism)?)?(?:[ _-](?:size|degree))?"
_DATA_ONLY: Final = re.compile(
    r"fsdp|hsdp|ddp|zero|single|full_shard|grad_op|hybrid_shard|no_shard|dp_shard|mics|stage[ -]?[0-3]|^none$"
    r"|distributed|data[ _-]?parallel|\bdp only",
    re.IGNORECASE,
)
_STAGES: Final[tuple[tuple[str, Sharding], ...]] = (
    (r"no_shard|stage[ -]?0", "none"),
    (r"fsdp=true|full_shard|(?:zero|stage)[ -]?3|zero\+\+|zero-?infinity|dp_shard|mics", "full"),
    (r"grad_op|_zero2|(?:zero|stage)[ -]?2", "gradients"),
    (r"(?:zero|stage)[ -]?1|dist-opt|distributed ?(?:opt|adam)|fsdp=(?:0|false)", "optimizer"),
    (r"fsdp|hsdp|hybrid_shard", "full"),
    (r"\bddp\b|^none$|data[ _-]?parallel|\bdp only", "none"),
)
# "FSDP2 64", "FSDP256", "FSDP=64", "FSDP2 (8)": the first 2 of "FSDP2 64" is a version.
_SHARDS: Final = re.compile(r"\b(?:[fh]sdp|mics)(?:2(?= \(?\d))?( ?\(?|=)(\d+)\b", re.IGNORECASE)
# Devices that share one copy in a hybrid layout: "dp_shard=8", "HSDP shard=16", "HSDP (8 shard x 4 replicate)".
_SHARED: Final = re.compile(
    r"shard(?:ed|ing)?(?:_degree)?\s*=\s*(\d{1,7})|\b(\d{1,7})[ -](?:way )?shard", re.IGNORECASE
)
_COPIES: Final = re.compile(r"dp_replicate(?:_degree)?\s*=\s*(\d{1,7})", re.IGNORECASE)
_HYBRID: Final = re.compile(r"hsdp|hybrid", re.IGNORECASE)


def degrees_of(text: str, number: Callable[[str], int | None]) -> dict[str, int] | str:
    """Parallel degrees (`tp`, `pp`, `cp`, `dp`, `ep`) and devices (`n`), or why they do not follow.

    Args:
        text: the words on the layout, such as `3D: DP32 ZeRO-1 TP2 PP4`.
        number: reads a column of the row; None where it is empty.
    """
    if "not stated" in text:
        return f"the layout is {text!r}"
    degrees = {name: number(name) or _said(name, text) for name in _DEGREES}
    devices = number("n_gpus")
    for name in ("tp", "pp", "cp"):
        if degrees[name] is None and devices != 1 and re.search(rf"\b{name}\b", text, re.IGNORECASE):
            return f"the layout {text!r} names {name.upper()} without its degree"
    plain = devices == 1 or not text or _DATA_ONLY.search(text) is not None
    if not plain and all(degrees[name] is None for name in ("tp", "pp", "dp")):
        return f"tensor and pipeline degrees are not given (layout {text!r})"
    split = (degrees["tp"] or 1) * (degrees["pp"] or 1) * (degrees["cp"] or 1)
    data = degrees["dp"] or (devices // split if devices else None)
    if data and devices and data * split != devices == data * split * _shards(text):
        data *= _shards(text)  # the column counts copies of the model, each of them shared
    devices = devices or (data * split if data else None)
    if devices is None or data is None:
        return "the number of GPUs is not given"
    if data * split != devices:
        return f"degrees multiply to {data * split}, not to {devices} GPUs"
    return {name: degrees[name] or 1 for name in _DEGREES} | {"dp": data, "n": devices}


def _said(name: str, text: str) -> int | None:
    """A degree in the words (8 in `TP8`, `TP=8`, `TP (8)`, `TP8xPP2` and `tensor parallel 8`); None where there is none."""
    plain = re.sub(r"(?<=\d)[x*](?=[A-Za-z])", " ", text)
    pattern = rf"(?<![a-z])(?:{_WORDS[name]}){_LONG}\s*[=:(]?\s*(\d{{1,7}})(?!\d)"
    if found := re.search(pattern, plain, re.IGNORECASE):
        return int(found[1]) or None
    if name == "dp" and (copies := _COPIES.search(text)) and "dp_shard" in text:
        return int(copies[1]) * _shards(text) or None
    return None


def _shards(text: str) -> int:
    """Devices that share one copy, where the words give their number; else 1."""
    found = _SHARED.search(text)
    if found:
        return int(found[1] or found[2]) or 1
    found = _SHARDS.search(text)
    return int(found[2]) or 1 if found else 1


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
    if found := re.search(r"\bVPP?\s*=?\s*(\d{1,4})\b", cells["sharding"], re.IGNORECASE):
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
    elif found := _SHARED.search(text):
        degree = int(found[1] or found[2])
    elif _HYBRID.search(text):
        degree = device.per_node  # hybrid sharding: shared inside a machine, copied across machines
    elif stage == "full" and (found := _SHARDS.search(text)):
        # "FSDP1" and "FSDP2" name a version, "FSDP=1" only says that it is on.
        version = int(found[2]) <= (1 if found[1] == "=" else 2)
        degree = data if version else int(found[2])
    degree = max(1, min(degree, data))
    return ("none", 1) if stage == "none" or data == 1 else (stage, degree)
