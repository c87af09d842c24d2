"""Techniques: adapters, compression, distillation, averaging."""

from __future__ import annotations

from tests.compiler.keys.base import STARTED, TWO_RUNS, Overrides

__all__ = ["BEFORE", "CHANGES"]


# Path -> overrides that change it. A key that another one excludes comes with what makes room for it.
CHANGES: Overrides = {
    **{
        f"training.adapter.{key}": (*STARTED, "compression=[]", f"training.adapter={change}")
        for key, change in {
            "rank": "{rank: 9}",
            "alpha": "{alpha: 9}",
            "dropout": "{dropout: 0.2}",
            "targets": "{targets: mlp}",
            "rank_stabilized": "{rank_stabilized: true}",
            "base": "{base: nf4}",
        }.items()
    },
    "compression[].sparsity": ("compression[0].sparsity=0.3",),
    "compression[].scope": ("compression=[{kind: pruning, scope: global}]", "hardware.count=1"),
    "compression[].method": ("compression[0].method=2:4",),
    "compression[].norm": ("compression=[{kind: pruning, method: structured, norm: l2}]",),
    "compression[].initial": ("compression[0].initial=0.1",),
    "compression[].schedule": ("compression[0].schedule=linear",),
    "compression[].targets": ("compression[0].targets=mlp",),
    "compression[].exclude": ("compression[0].exclude=[down_proj]",),
    "compression[].rank": (*STARTED, "compression=[{kind: low_rank, rank: 9}]"),
    "compression[].energy": (*STARTED, "compression=[{kind: low_rank, energy: 0.8}]"),
    "compression[].parameters": (*STARTED, "compression=[{kind: low_rank, parameters: 0.4}]"),
    **{
        f"compression[].{key}": (f"compression=[{{kind: quantization, {change}}}]",)
        for key, change in {
            "mode": "mode: qat",
            "weights": "weights: int4",
            "granularity": "granularity: tensor",
            "group_size": "granularity: group, group_size: 16",
            "activations": "activations: int8",
        }.items()
    },
    "compression[].start": ("compression[0].start=0.1dur",),
    "compression[].end": ("compression[0].end=0.9dur",),
    "compression[].interval": ("compression[0].interval=5ba",),
    "distillation.teacher.run": (TWO_RUNS, "distillation.teacher={run: previous}"),
    "distillation.teacher.folder": ("distillation.teacher=bigger",),
    "distillation.teacher.hub": ("distillation.teacher={hub: org/big}",),
    "distillation.teacher.revision": ("distillation.teacher={hub: org/big, revision: abc}",),
    "distillation.teacher.checkpoint": ("distillation.teacher={checkpoint: runs/big-1a2b3c4d}",),
    "distillation.teachers[].run": (TWO_RUNS, "distillation={teachers: [{run: one}, big]}"),
    "distillation.teachers[].folder": ("distillation={teachers: [big, bigger]}",),
    "distillation.teachers[].hub": ("distillation={teachers: [{hub: org/big}, big]}",),
    "distillation.teachers[].revision": ("distillation={teachers: [{hub: org/big, revision: abc}, big]}",),
    "distillation.teachers[].checkpoint": ("distillation={teachers: [{checkpoint: runs/big-1a2b3c4d}, big]}",),
    "distillation.sampling": ("distillation={teachers: [big, bigger], sampling: one}",),
    "distillation.loss": ("distillation.loss=mse",),
    "distillation.temperature": ("distillation.temperature=2",),
    "distillation.weight": ("distillation.weight=0.9",),
    "distillation.start": ("distillation.start=0.1dur",),
    "distillation.end": ("distillation.end=0.4dur",),
    "distillation.every": ("distillation.every=2",),
    "distillation.probability": ("distillation.probability=0.5",),
    "distillation.cache.top_k": ("distillation.cache={top_k: 32}",),
    "averaging.half_life": ("averaging.half_life=9ba",),
    "averaging.update_interval": ("averaging.update_interval=3ba",),
    "averaging.start": ("averaging.start=0.5dur",),
}

# What a change is compared with, where BASE itself would hide it.
BEFORE: Overrides = {
    "distillation.teacher.run": (TWO_RUNS,),
    "distillation.teacher.revision": ("distillation.teacher={hub: org/big}",),
    "distillation.teachers[].run": (TWO_RUNS, "distillation={teachers: [big, bigger]}"),
    "distillation.teachers[].revision": ("distillation={teachers: [{hub: org/big}, big]}",),
    "distillation.sampling": ("distillation={teachers: [big, bigger]}",),
    "distillation.cache.top_k": ("distillation.cache={}",),
    **{
        f"training.adapter.{key}": (*STARTED, "compression=[]", "training.adapter={}")
        for key in ("rank", "alpha", "dropout", "targets", "rank_stabilized", "base")
    },
    "compression[].norm": ("compression=[{kind: pruning, method: structured}]",),
    **{
        f"compression[].{key}": ("compression=[{kind: quantization}]",)
        for key in ("mode", "weights", "granularity", "activations")
    },
    "compression[].group_size": ("compression=[{kind: quantization, granularity: group}]",),
    "compression[].rank": (*STARTED, "compression=[{kind: low_rank, rank: 8}]"),
    "compression[].energy": (*STARTED, "compression=[{kind: low_rank, energy: 0.9}]"),
    "compression[].parameters": (*STARTED, "compression=[{kind: low_rank, parameters: 0.5}]"),
}
