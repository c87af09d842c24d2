"""Budget: its aims, the law, serving, limits."""

from __future__ import annotations

from tests.compiler.keys.base import RUNS, Overrides

__all__ = ["BEFORE", "CHANGES"]

# Limits that bind, and a law of the same kind.
AUTO = ("model={size: auto}", "budget={match_chinchilla: 100M, inference: {requests: 1M}}", "training={}")

# Path -> overrides that change it. A key that another one excludes comes with what makes room for it.
CHANGES: Overrides = {
    "budget.tokens": ("budget.tokens=2M",),
    "budget.tokens_per_parameter": ("budget={tokens_per_parameter: 20}",),
    "budget.flops": ("budget={flops: 1e12}",),
    "budget.target_loss": ("model={size: auto}", "budget={target_loss: 3.4}", "training={}"),
    "budget.match_chinchilla": ("model={size: auto}", "budget={match_chinchilla: 50M}", "training={}"),
    "budget.match_model.parameters": (
        "model={size: auto}",
        "budget={match_model: {parameters: 200M, tokens: 2B}}",
        "training={}",
    ),
    "budget.match_model.tokens": (
        "model={size: auto}",
        "budget={match_model: {parameters: 100M, tokens: 4B}}",
        "training={}",
    ),
    "budget.cost": ("budget={cost: $9}",),
    "budget.gpu_time": ("budget={gpu_time: 3h}",),
    "budget.time": ("budget={time: 2h}",),
    "budget.lifetime_cost": ("budget={lifetime_cost: $50, inference: {requests: 1M}}",),
    "budget.objective": ("budget.objective=dollars",),
    "budget.inference.tokens": ("budget.inference={tokens: 1B}",),
    "budget.inference.requests": ("budget.inference.requests=2M",),
    "budget.inference.input_tokens": ("budget.inference.input_tokens=71",),
    "budget.inference.output_tokens": ("budget.inference.output_tokens=216",),
    "budget.inference.gpu": ("budget.inference.gpu=a100-sxm-80gb",),
    "budget.inference.precision": ("budget.inference.precision=bf16",),
    "budget.inference.price": ("budget.inference.price=$1/gpu-hour",),
    "budget.inference.mfu_prefill": ("budget.inference.mfu_prefill=0.4",),
    "budget.inference.mfu_decode": ("budget.inference.mfu_decode=0.02",),
    "budget.scaling_law.name": ("budget.scaling_law=sardana",),
    "budget.scaling_law.e": ("budget.scaling_law={e: 1.7, a: 400, b: 410, alpha: 0.34, beta: 0.28}",),
    "budget.scaling_law.a": ("budget.scaling_law={e: 1.6, a: 406, b: 410, alpha: 0.34, beta: 0.28}",),
    "budget.scaling_law.b": ("budget.scaling_law={e: 1.6, a: 400, b: 420, alpha: 0.34, beta: 0.28}",),
    "budget.scaling_law.alpha": ("budget.scaling_law={e: 1.6, a: 400, b: 410, alpha: 0.35, beta: 0.28}",),
    "budget.scaling_law.beta": ("budget.scaling_law={e: 1.6, a: 400, b: 410, alpha: 0.34, beta: 0.29}",),
    "budget.scaling_law.fit": (f"budget.scaling_law={{fit: {RUNS}}}",),
    "budget.scaling_law.max_tokens_per_parameter": (
        f"budget.scaling_law={{fit: {RUNS}, max_tokens_per_parameter: 100}}",
    ),
    "budget.constraints.min_parameters": ("budget.constraints={min_parameters: 150M}",),
    "budget.constraints.max_parameters": ("budget.constraints={max_parameters: 80M}",),
    "budget.constraints.unique_tokens": ("budget.constraints={unique_tokens: 500M}",),
    "budget.constraints.max_epochs": ("budget.constraints={unique_tokens: 500M, max_epochs: 3}",),
    "budget.constraints.max_tokens_per_parameter": ("budget.constraints={max_tokens_per_parameter: 10}",),
    "budget.max_cost": ("budget.max_cost=$10k",),
    "budget.max_hours": ("budget.max_hours=9h",),
    "budget.max_gpus": ("budget.max_gpus=8",),
}

# What a change is compared with, where BASE itself would hide it.
BEFORE: Overrides = {
    "budget.target_loss": AUTO,
    "budget.match_chinchilla": AUTO,
    "budget.match_model.parameters": (*AUTO, "budget={match_model: {parameters: 100M, tokens: 2B}}"),
    "budget.match_model.tokens": (*AUTO, "budget={match_model: {parameters: 100M, tokens: 2B}}"),
    "budget.objective": AUTO,
    "budget.constraints.max_epochs": (*AUTO, "budget.constraints={unique_tokens: 500M}"),
    **{f"budget.constraints.{key}": AUTO for key in ("min_parameters", "max_parameters", "unique_tokens")},
    "budget.constraints.max_tokens_per_parameter": AUTO,
    **{
        f"budget.scaling_law.{key}": ("budget.scaling_law={e: 1.6, a: 400, b: 410, alpha: 0.34, beta: 0.28}",)
        for key in ("e", "a", "b", "alpha", "beta")
    },
    "budget.scaling_law.max_tokens_per_parameter": (f"budget.scaling_law={{fit: {RUNS}}}",),
}
