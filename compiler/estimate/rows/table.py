"""Tables of measured runs: each row becomes a Workload, from what was known before the run, or says why it cannot.

Only the columns of `INPUTS` are read: throughput, utilisation, peak memory, status and what is derived from them never are. Of
`notes` a few facts of the configuration are read: attention kernel, longest sample, trainable weights, interleaving, offload.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from compiler.catalogue import Device
from compiler.estimate.memory.peak import fits
from compiler.estimate.rows import software
from compiler.estimate.rows.layout_words import degrees_of, layout_of
from compiler.estimate.rows.named_devices import device_of
from compiler.estimate.rows.shapes import Dimensions, shape_of
from compiler.estimate.workload import ComputeFormat, Layout, Numerics, Recompute, Shape, Workload

__all__ = ["INPUTS", "Row", "Unjudged", "read_rows", "workload_of"]

INPUTS: Final = (
    *("hardware", "interconnect", "n_gpus", "model", "n_params", "n_params_active", "d_model", "n_layers", "n_heads"),
    *("n_kv_heads", "d_ff", "vocab", "seq_len", "precision", "sharding", "act_ckpt", "microbatch", "grad_accum"),
    *("global_batch_seqs", "tp", "pp", "cp", "ep", "dp", "software", "family", "task", "notes"),
)
"""The columns that may be read: all of them are known before a run."""

# Past these a number is a slip of the pen: 10^17 weights, 10^7 devices, 10^9 tokens in a sample.
_LIMITS: Final = {"n_params": 1e17, "n_params_active": 1e17, "n_gpus": 1e7, "seq_len": 1e9, "global_batch_seqs": 1e12}
_LARGEST: Final = 1e8
# Characters of a cell that are read: words on a run are shorter, and searches in longer ones would take seconds.
_READ: Final = 2000
_Found = TypeVar("_Found")
_EMPTY: Final = frozenset({"", "none", "n/a", "na", "nan", "null", "-", "?"})
# "4k" tokens, "7B" weights.
_SUFFIXED: Final[Mapping[str, Mapping[str, float]]] = {
    "seq_len": {"k": 1024},
    "n_params": {"m": 1e6, "b": 1e9, "t": 1e12},
}
_SUFFIXES: Final[Mapping[str, Mapping[str, float]]] = {**_SUFFIXED, "n_params_active": _SUFFIXED["n_params"]}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Args:
        line: of the file, the header is line 1.
        cells: every column as it was written.
    """

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A row that no Workload follows from.

    Args:
        reason: what is missing or contradicts itself, in words.
    """

    reason: str


class _RefusedError(Exception):
    """Carries the reason from where it is found to `workload_of`."""


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a CSV file with a header; cells beyond the header are dropped, missing ones are empty.

    Columns of `INPUTS` are known by their name in any case, with spaces around it.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: it is not UTF-8.
        csv.Error: it is not CSV, or has a column twice.
    """
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle, restval="")
        names = [plain if (plain := name.strip().lower()) in INPUTS else name for name in reader.fieldnames or ()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise csv.Error(f"it has the column {twice[0]!r} twice")
        reader.fieldnames = names
        for cells in reader:
            yield Row(reader.line_num, {key: value for key, value in cells.items() if isinstance(key, str)})


def workload_of(row: Row) -> Workload | Unjudged:
    """The row as a Workload, or why not; never raises for what a row holds."""
    known = {name: (row.cells.get(name) or "")[:_READ].strip() for name in INPUTS}
    try:
        return _Reader(known).workload()
    except _RefusedError as refused:
        return Unjudged(str(refused))


def _judged(found: _Found | str) -> _Found:
    """The thing itself, unless it is a reason why there is none."""
    if isinstance(found, str):
        raise _RefusedError(found)
    return found


@dataclass(frozen=True, slots=True)
class _Reader:
    """The inputs of one row, and what follows from them."""

    cells: Mapping[str, str]

    def workload(self) -> Workload:
        cells = self.cells
        device = _tensor_float(_judged(device_of(cells["hardware"], cells["interconnect"])), cells["precision"])
        degrees = _judged(degrees_of(cells["sharding"], self._number))
        split = degrees["tp"] * degrees["pp"] > 1
        stack = software.stack_of(cells["software"], cells["family"], cells["sharding"], model_parallel=split)
        length = self._length()
        shape = self._shape(length)
        layout = _judged(layout_of(stack, cells, degrees, device, shape))
        microbatch, accumulation = self._batch(stack, layout)
        words = f"{cells['software']} {cells['sharding']} {cells['notes']}"
        w = Workload(
            shape=shape,
            numerics=self._numerics(stack, shape, device),
            layout=layout,
            device=_capped(device, cells["sharding"]),
            sequence_length=length,
            microbatch=microbatch,
            accumulation=accumulation,
            attention=software.kernel_of(stack, cells["precision"], cells["software"], cells["notes"]),
            recompute=self._recompute(stack, layout),
            stack=stack,
            release=software.release_of(cells["software"], cells["precision"], cells["sharding"]),
            compiled=stack in ("xla", "maxtext") or "compile" in words or "torch 2.0-dev" in words,
            # llm-foundry runs its norms in 16 bits, in torch's kernel.
            fused_norm=stack == "composer" or re.search(r"RMS kernel|fused kernels", words) is not None,
        )
        return w if not software.is_silent(cells["act_ckpt"]) or stack not in software.ADAPTING else _lightest(w)

    def _numerics(self, stack: str, shape: Shape, device: Device) -> Numerics:
        cells = self.cells
        compute = _format(cells["precision"], device)
        tables = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
        numerics = software.numerics_of(
            stack,
            f"{cells['precision']} {cells['task']}",
            cells["sharding"],
            compute,
            trainable=self._trainable(shape),
            embedding_share=min(1.0, tables / shape.parameters),
        )
        if re.search(r"cpu offload|par_offl=y", f"{cells['sharding']} {cells['notes']}", re.IGNORECASE):
            # Weights and states lie in the host's memory.
            return replace(numerics, weight_bytes=0.0, gradient_bytes=0.0, optimizer_bytes=0.0)
        return numerics

    def _number(self, name: str) -> int | None:
        """A whole number from 1 up; None where the cell is empty."""
        text = self.cells[name].replace(",", "").replace("_", "")
        if text.lower() in _EMPTY:
            return None
        unit = _SUFFIXES.get(name, {}).get(text[-1].lower())
        try:
            value = float(text[:-1]) * unit if unit else float(text)
        except ValueError:
            value = math.nan
        if (
            not math.isfinite(value)
            or not 1 <= value <= _LIMITS.get(name, _LARGEST)
            or abs(value - round(value)) > 1e-3
        ):
            raise _RefusedError(f"{name} is {self.cells[name][:40]!r}, not a whole number from 1 up")
        return round(value)

    def _length(self) -> int:
        """Tokens of a sample; of the longest one where lengths vary, because that one sets the memory."""
        length = self._number("seq_len")
        if length is None and (found := re.search(r"longest sample (\d{1,7}) tokens", self.cells["notes"])):
            length = int(found[1])
        if not length:
            raise _RefusedError("seq_len is not given")
        return length

    def _shape(self, length: int) -> Shape:
        said = Dimensions(
            parameters=self._number("n_params"),
            active_parameters=self._number("n_params_active"),
            layers=self._number("n_layers"),
            hidden=self._number("d_model"),
            heads=self._number("n_heads"),
            kv_heads=self._number("n_kv_heads"),
            intermediate=self._number("d_ff"),
            vocabulary=self._number("vocab"),
            positions=length,
        )
        return _judged(shape_of(self.cells["model"], said))

    def _batch(self, stack: str, layout: Layout) -> tuple[int, int]:
        """Samples of a forward pass and forward passes of a step, any of them from the other two and the global batch."""
        micro, accumulation, samples = map(self._number, ("microbatch", "grad_accum", "global_batch_seqs"))
        each = max(1, round(samples / layout.data)) if samples else None
        if stack == "ml-dataflow" and micro is None and each:
            return each, 1  # the engine cuts the step itself, to fill the memory it was given
        if micro is None and each and (accumulation or each == 1):
            micro = max(1, each // (accumulation or 1))
        if micro is None:
            raise _RefusedError("the micro-batch is not given and does not follow from the other columns")
        return micro, accumulation or max(1, -(-(each or micro) // micro))

    def _trainable(self, shape: Shape) -> float:
        """Share of the weights that learn; adapters whose size is not stated are taken as 0.3 % (rank 16)."""
        if not re.search(r"lora|adapter", self.cells["task"], re.IGNORECASE):
            return 1.0
        found = re.search(r"trainable ([\d,]{1,15})", self.cells["notes"])
        number = int(found[1].replace(",", "") or 0) if found else 0
        return min(1.0, number / shape.parameters) if number else 0.003

    def _recompute(self, stack: str, layout: Layout) -> Recompute:
        text = self.cells["act_ckpt"]
        if software.is_silent(text):
            return software.habitual_recompute(stack, sharded=layout.sharding == "full")
        found = software.recompute_of(text)
        if found is None:
            raise _RefusedError(f"the activation checkpointing {text[:40]!r} is not known")
        return found


def _format(precision: str, device: Device) -> ComputeFormat:
    """The format that products run in; refused where the words name none or the device has none of it."""
    compute = software.compute_format(precision)
    if compute is None:
        raise _RefusedError(
            f"the precision {precision[:40]!r} is not known" if precision else "the precision is not given"
        )
    if compute not in device.peak_flops and not device.is_cpu:
        raise _RefusedError(f"{device.name} does not compute in {compute}")
    return compute


def _tensor_float(device: Device, precision: str) -> Device:
    """The device with its TF32 rate for fp32 products where the words say tf32: half of the bf16 rate on every tensor core."""
    if "tf32" not in precision.lower() or "bf16" not in device.peak_flops:
        return device
    return replace(device, peak_flops={**device.peak_flops, "fp32": device.peak_flops["bf16"] / 2})


def _lightest(w: Workload) -> Workload:
    """With the lightest activation checkpointing that fits, as published recipes that do not state theirs are tuned."""
    choices: tuple[Recompute, ...] = ("none", "selective", "full")
    tried = [replace(w, recompute=choice) for choice in choices]
    return next((attempt for attempt in tried if fits(attempt)), w)


def _capped(device: Device, text: str) -> Device:
    """An engine may be told to use only part of a device ("dev_mem cap 24GB")."""
    found = re.search(r"dev_mem cap ([1-9]\d{0,4})\s*GB", text)
    return replace(device, memory_bytes=min(device.memory_bytes, int(found[1]) * 2**30)) if found else device
