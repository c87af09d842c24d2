"""The closed form of memory beside a trace of the same step on fake tensors, part by part.

The trace runs where torch is (`python -m runtime.tracing.trace`, from compiler/commands/trace.py); only its JSON comes here.
It sees what autograd and the optimizer allocate on one device. What devices share, and what an allocator or a library adds on
top, it doesn't see; the closed form is taken without these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from compiler.catalogue import Device
from compiler.estimate.memory.habits import habits_of
from compiler.estimate.memory.peak import peak
from compiler.estimate.workload import Layout, Workload
from compiler.passes.parallelism import numerics_of, shape_of
from schemas.plan import HardwarePlan, RunPlan

__all__ = ["Comparison", "Row", "compare", "workload_of"]

# The closed form's instants, and the trace's that are the same moment.
_INSTANTS: Final = MappingProxyType(
    {
        "end of the forward pass": ("forward",),
        "loss": ("loss",),
        "start of the backward pass": ("last block",),
        "end of the backward pass": ("first block", "embedding"),
        "optimizer step": ("optimizer",),
    }
)
_STATES: Final = ("parameters", "gradients", "optimizer")


@dataclass(frozen=True, slots=True)
class Row:
    """One part of memory both ways, in bytes.

    Args:
        part: its name.
        closed_form, traced: bytes.
    """

    part: str
    closed_form: float
    traced: float

    @property
    def difference(self) -> float:
        """Relative to the trace; 0 where both are nothing."""
        return (self.closed_form - self.traced) / self.traced if self.traced else float(self.closed_form > 0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A trace beside the closed form, at the closed form's fullest instant.

    Args:
        rows: parts; total: their sums.
        peak: the closed form's total beside the trace's at its own fullest instant.
        instant: of the closed form; traced_instant: of the trace.
        layers, depths: of the plan, and those that were traced.
        untraced: parts of the plan's memory that a trace of one device can't see.
    """

    rows: tuple[Row, ...]
    total: Row
    peak: Row
    instant: str
    traced_instant: str
    layers: int
    depths: tuple[int, ...]
    untraced: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        rows = {
            row.part: {"closed_form": round(row.closed_form), "traced": round(row.traced), "difference": row.difference}
            for row in (*self.rows, self.total, self.peak)
        }
        return {
            "parts": rows,
            "instant": self.instant,
            "traced_instant": self.traced_instant,
            "layers": self.layers,
            "depths": list(self.depths),
            "untraced_bytes": dict(self.untraced),
        }


def workload_of(plan: RunPlan) -> Workload:
    """The optimizer step of a plan as far as memory depends on it, without the weights of techniques: the trace has none."""
    model, layout, training = plan.decoder, plan.parallelism, plan.training
    return Workload(
        shape=shape_of(model),
        numerics=numerics_of(plan.precision, training.optimizer.kind),
        layout=Layout(
            devices=layout.devices,
            per_node=min(plan.hardware.per_node, layout.devices),
            data=layout.devices,
            sharding=layout.sharding,
            shard_degree=layout.shard_degree,
        ),
        device=_device(plan.hardware),
        sequence_length=plan.data.sequence_length,
        microbatch=training.microbatch,
        accumulation=training.global_batch_samples // layout.devices // training.microbatch,
        attention="eager" if model.attention == "eager" else "flash2",
        recompute="full" if layout.activation_checkpointing else "none",
        compiled=model.compile,
        dropout=model.dropout > 0,
        z_loss=plan.objective.z_loss > 0,
        distilled=any(algorithm.kind == "distillation" for algorithm in plan.algorithms),
    )


def _device(hardware: HardwarePlan) -> Device:
    return Device(
        name=hardware.gpu,
        per_node=hardware.per_node,
        memory_bytes=hardware.memory_bytes,
        memory_bandwidth=hardware.memory_bandwidth,
        peak_flops=MappingProxyType({}),
        matmul_flops=MappingProxyType({}),
        link_bandwidth=hardware.link_bandwidth,
        link_devices=hardware.link_devices,
        network_bandwidth=hardware.network_bandwidth,
        tdp_watts=hardware.tdp_watts,
        price=None,
    )


def compare(plan: RunPlan, traced: Mapping[str, Any]) -> Comparison:
    """Put a trace beside the closed form.

    Args:
        plan: the plan that was traced.
        traced: JSON of `python -m runtime.tracing.trace`.
    """
    w = workload_of(plan)
    closed = peak(w, replace(habits_of(w.stack), fragmentation=1.0, fixed_bytes=0.0))
    sharded = plan.parallelism.sharding != "none"
    parts = ("activations", "loss") if sharded else (*_STATES, "activations", "loss")
    instants: Mapping[str, Mapping[str, float]] = traced["instants"]
    there = [instants[name] for name in _INSTANTS[closed.instant] if name in instants] or [traced["parts"]]
    seen = max(there, key=lambda found: sum(found.values()))
    # One device holds its copies of gathered weights among the activations when autocast makes them.
    closed_parts = dict(closed.parts)
    if not sharded:
        closed_parts["activations"] += closed_parts["gathered"] - _buckets(plan)
    rows = tuple(Row(part, closed_parts[part], seen[part]) for part in parts)
    total = Row("total", sum(row.closed_form for row in rows), sum(row.traced for row in rows))
    fullest = max(instants, key=lambda name: sum(instants[name][part] for part in parts))
    untraced = {part: size for part, size in plan.estimate.memory_parts.items() if part not in parts and size}
    if not sharded and "gathered" in untraced:
        untraced["gathered"] = round(_buckets(plan))
    # What the plan adds for gaps between blocks of memory, so that all that is shown sums to the plan's peak.
    untraced["fragmentation"] = max(
        0, plan.estimate.peak_memory_bytes - round(total.closed_form) - sum(untraced.values())
    )
    return Comparison(
        rows=rows,
        total=total,
        peak=Row("peak", total.closed_form, sum(instants[fullest][part] for part in parts)),
        instant=closed.instant,
        traced_instant=fullest,
        layers=traced["layers"],
        depths=tuple(traced["depths"]),
        untraced=MappingProxyType({part: size for part, size in untraced.items() if size}),
    )


def _buckets(plan: RunPlan) -> float:
    """DDP's copies of the gradients, which a trace of one device doesn't have."""
    return 4.0 * plan.model.num_parameters if plan.parallelism.strategy == "ddp" else 0.0
