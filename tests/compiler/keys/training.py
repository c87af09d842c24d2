"""Hardware, training and precision."""

from __future__ import annotations

from tests.compiler.keys.base import SITE, Overrides

__all__ = ["BEFORE", "CHANGES"]


# Path -> overrides that change it. A key that another one excludes comes with what makes room for it.
CHANGES: Overrides = {
    "hardware.gpu.name": ("hardware.gpu=a100-sxm-80gb",),
    "hardware.gpu.memory": ("hardware.gpu={name: h100-sxm-80gb, memory: 96GB}",),
    "hardware.gpu.bandwidth": ("hardware.gpu={name: h100-sxm-80gb, bandwidth: 2TB/s}",),
    "hardware.gpu.peak.fp32": ("hardware.gpu={name: h100-sxm-80gb, peak: {fp32: 60TFLOP/s}}", "precision=fp32"),
    "hardware.gpu.peak.bf16": ("hardware.gpu={name: h100-sxm-80gb, peak: {bf16: 800TFLOP/s}}",),
    "hardware.gpu.peak.fp16": ("hardware.gpu={name: h100-sxm-80gb, peak: {fp16: 800TFLOP/s}}", "precision=fp16"),
    "hardware.gpu.peak.fp8": (
        "hardware.gpu={name: h100-sxm-80gb, peak: {fp8: 1500TFLOP/s}}",
        "precision=fp8",
        "compression=[]",
    ),
    "hardware.gpu.link": ("hardware.gpu={name: h100-sxm-80gb, link: 200GB/s}",),
    "hardware.gpu.tdp": ("hardware.gpu={name: h100-sxm-80gb, tdp: 350W}",),
    "hardware.count": ("hardware.count=4",),
    "hardware.per_node": ("hardware.per_node=1",),
    "hardware.price": ("hardware.price=$9/gpu-hour",),
    "hardware.mfu": ("hardware.mfu=0.3",),
    "hardware.calibration": (f"hardware.calibration={SITE}",),
    "hardware.network": ("hardware.network=100Gb/s",),
    "hardware.mtbf": ("hardware.mtbf=100h",),
    "hardware.pue": ("hardware.pue=1.5",),
    "hardware.grid": ("hardware.grid=56g/kWh",),
    "training.batch": ("training.batch=16384 tok",),
    "training.microbatch": ("training.microbatch=2",),
    "training.optimizer.kind": ("training.optimizer.kind=sgd",),
    "training.optimizer.lr": ("training.optimizer.lr=1e-5",),
    "training.optimizer.betas": ("training.optimizer.betas=[0.8, 0.9]",),
    "training.optimizer.eps": ("training.optimizer.eps=1e-6",),
    "training.optimizer.weight_decay": ("training.optimizer.weight_decay=0.05",),
    "training.schedule.kind": ("training.schedule.kind=linear",),
    "training.schedule.warmup": ("training.schedule.warmup=9ba",),
    "training.schedule.cooldown": ("training.schedule={kind: inverse_sqrt, cooldown: 9ba}",),
    "training.schedule.final": ("training.schedule.final=0.2",),
    "training.duration": ("budget={}", "training.duration=77ba"),
    "training.gradient_clipping.kind": ("training.gradient_clipping.kind=value",),
    "training.gradient_clipping.threshold": ("training.gradient_clipping.threshold=0.5",),
    "training.sharding.kind": ("compression=[]", "training.sharding=full"),
    "training.sharding.degree": (
        "compression=[]",
        "hardware.count=16",
        "training.batch=64k tok",
        "training.sharding={kind: hybrid, degree: 4}",
    ),
    "training.activation_checkpointing": ("training.activation_checkpointing=true",),
    "training.compile": ("training.compile=true",),
    "training.deterministic": ("training.deterministic=false",),
    "precision.compute": ("precision=fp16",),
    "precision.reduce": ("precision.reduce=bf16",),
    "precision.param": ("averaging=null", "precision.param=bf16"),
    "precision.norms": ("model.family=gpt2", "precision.norms=low"),
    "precision.loss_scale.initial": ("precision={compute: fp16, loss_scale: {initial: 1024}}",),
    "precision.loss_scale.growth_interval": ("precision={compute: fp16, loss_scale: {growth_interval: 99}}",),
}

# What a change is compared with, where BASE itself would hide it.
BEFORE: Overrides = {
    "precision.param": ("averaging=null",),
    "precision.norms": ("model.family=gpt2",),
    **{f"precision.loss_scale.{key}": ("precision=fp16",) for key in ("initial", "growth_interval")},
    "hardware.gpu.peak.fp8": ("precision=fp8", "compression=[]"),
    # Clipping by the norm, and pruning over all layers, see whole weights; a plan of two devices shares them by itself.
    "training.sharding.kind": ("compression=[]",),
    "training.sharding.degree": (
        "compression=[]",
        "hardware.count=16",
        "training.batch=64k tok",
        "training.sharding=hybrid",
    ),
}
