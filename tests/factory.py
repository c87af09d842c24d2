"""Plans made by hand, so that the runtime is tested without the compiler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.plan import FORMAT_VERSION, RunPlan

__all__ = ["lowered", "tiny_plan"]

_LOWERED: Final[dict[str, dict[str, Any]]] = {
    "distillation": {"sampling": "all", "loss": "kl", "every": 1, "probability": 1.0, "top_k": None},
    "low_rank": {"hold": False, "removes": []},
    "pruning": {
        "method": "magnitude", "initial": 0.0, "schedule": "cubic", "norm": "l1", "targets": "all", "exclude": [],
    },
}  # fmt: skip
_NOWHERE: Final = dict.fromkeys(("run", "fingerprint", "folder", "hub", "revision", "checkpoint"))


def tiny_plan(**changes: Any) -> RunPlan:
    """A plan of a 2-layer llama on two built-in sources, 12 steps of 8 samples x 64 tokens; sections can be replaced.

    A section given as a mapping updates that section: `tiny_plan(training={"steps": 4})` is checked like any plan, so
    budget and phases must be changed with it.
    """
    sequence_length, batch, steps = 64, 8, 12
    tokens = sequence_length * batch * steps
    plan: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "name": "tiny",
        "fingerprint": "0" * 64,
        "resume_key": "1" * 64,
        "seed": 17,
        "run": None, "start": None, "techniques": [], "shipped": None, "earlier": [], "totals": None,
        "objective": {"kind": "causal_lm", "z_loss": 0.0, "label_smoothing": 0.0},
        "model": {
            "family": "llama", "num_parameters": 26_720, "num_embedding_parameters": 16_384, "vocab_size": 512,
            "hidden_size": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2, "intermediate_size": 64,
            "max_sequence_length": 64, "tie_embeddings": True, "dropout": 0.0, "rope_theta": 10000.0, "norm_eps": 1e-5,
            "init_std": 0.02, "attention": "sdpa", "compile": False,
        },
        "tokenizer": {
            "kind": "bpe", "vocab_size": 512, "max_bytes": 200_000, "path": None, "hub": None, "revision": None,
        },
        "budget": {
            "tokens": tokens, "train_flops": 1e9, "objective": "flops", "inference_tokens": 0, "inference_flops": 0.0,
            "inference_usd": 0.0, "serving": None, "effective_inference_tokens": 0.0, "lifetime_flops": 1e9,
            "lifetime_usd": 0.0, "loss": 6.0, "loss_low": None, "loss_high": None, "scaling_law": "besiroglu",
            "law": {
                "e": 1.8172, "a": 482.01, "b": 2085.43, "alpha": 0.3478, "beta": 0.3658, "source": "by hand",
                "num_runs": None, "sha256": None,
            },
            "extrapolated": True, "optimal_parameters": 1, "optimal_tokens": 1, "optimal_loss": 6.0,
            "snapped_loss_delta": 0.0, "binding": "", "unconstrained": None, "tokens_per_parameter": 0.2,
            "unique_tokens": None, "epochs": 0.0, "repetition_loss": 0.0,
            "chinchilla": {
                "parameters": 1, "tokens": 1, "loss": 6.0, "train_flops": 6.0, "lifetime_flops": 6.0, "lifetime_usd": 0.0,
            },
            "max_cost_usd": None, "max_seconds": None, "max_gpus": None,
        },
        "data": {
            "sequence_length": sequence_length,
            "sources": {
                "code": {"builtin": "cpython-library"},
                "prose": {"builtin": "cpython-docs"},
            },
            "phases": [
                {
                    "id": "phase0", "start_token": 0, "end_token": tokens,
                    "sources": {
                        "code": {"samples": 72, "tokens": 72 * sequence_length},
                        "prose": {"samples": 24, "tokens": 24 * sequence_length},
                    },
                }
            ],
            "shuffle_block": 262_144, "curricula": {}, "selection": {}, "image": None,
        },
        "training": {
            "steps": steps, "global_batch_samples": batch, "global_batch_tokens": batch * sequence_length, "microbatch": 8,
            "optimizer": {"kind": "adamw", "lr": 0.003, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1},
            "schedule": {"kind": "cosine", "warmup_steps": 2, "cooldown_steps": 0, "final_fraction": 0.1},
            "deterministic": True,
        },
        "precision": {"param": "fp32", "compute": "fp32", "reduce": "fp32", "norms": "full", "loss_scale": None},
        "parallelism": {
            "strategy": "none", "sharding": "none", "shard_degree": 1, "replicas": 1, "devices": 1, "nodes": 1,
            "activation_checkpointing": False,
        },
        "algorithms": [],
        "evaluation": {
            "holdout": 0.05, "interval_steps": 6, "max_tokens": 4096, "prompts": ["def main("], "max_new_tokens": 8,
            "retention": [], "bias": None,
        },
        "checkpoints": {
            "interval_steps": 4, "keep": 2, "export": True, "export_dtype": "fp32", "max_shard_bytes": 5_000_000_000,
        },
        "hardware": {
            "gpu": "cpu", "count": 1, "per_node": 1, "memory_bytes": 16_000_000_000, "memory_bandwidth": 2e10,
            "peak_flops": 1e11, "link_bandwidth": 5e9, "link_devices": 1, "network_bandwidth": 1e9, "tdp_watts": 65.0,
            "usd_per_gpu_hour": 0.0, "usd_per_gpu_hour_low": 0.0, "usd_per_gpu_hour_high": 0.0, "price_source": "by hand",
            "mtbf_hours": 50_000.0, "pue": 1.1, "co2e_kg_per_kwh": 0.473,
        },
        "logging": {
            "interval_steps": 1, "console": True, "jsonl": True, "tensorboard": None, "mlflow": None, "wandb": None,
        },
        "execution": {"workers": 0, "cache": None, "cache_limit": None, "threads": None, "offline": True, "slurm": {}},
        "estimate": {
            "tokens_per_s_per_gpu": 1000.0, "tokens_per_s_per_gpu_low": 500.0, "tokens_per_s_per_gpu_high": 2000.0,
            "mfu": 0.1, "peak_memory_bytes": 1_000_000, "peak_memory_bytes_low": 900_000,
            "peak_memory_bytes_high": 1_100_000, "memory_limit_bytes": 15_000_000_000,
            "memory_parts": {"parameters": 400_000, "activations": 600_000}, "memory_instant": "end of the forward pass",
            "step_parts": {"matmul": 0.4, "overhead": 0.1},
            "time_parts": {
                "startup": 10.0, "prepare": 2.0, "training": 6.0, "evaluation": 2.0, "checkpoints": 1.0, "restarts": 0.0,
            },
            "hours": 21 / 3600, "hours_low": 0.003, "hours_high": 0.02,
            "usd_parts": {
                "startup": 0.0, "prepare": 0.0, "training": 0.0, "evaluation": 0.0, "checkpoints": 0.0, "restarts": 0.0,
            },
            "usd": 0.0, "usd_low": 0.0, "usd_high": 0.0, "energy_kwh": 0.0004, "co2e_kg": 0.0002,
            "inference_usd": 0.0, "lifetime_usd": 0.0, "exposure": {}, "method": "by hand",
        },
        "steps": [
            {"id": "tokenizer", "kind": "tokenizer", "inputs": [], "source": None, "devices": 1, "seconds": 1.0},
            {"id": "prepare-code", "kind": "prepare", "inputs": ["tokenizer"], "source": "code", "devices": 1, "seconds": 1.0},
            {"id": "prepare-prose", "kind": "prepare", "inputs": ["tokenizer"], "source": "prose", "devices": 1, "seconds": 1.0},
            {
                "id": "train", "kind": "train", "inputs": ["tokenizer", "prepare-code", "prepare-prose"], "source": None,
                "devices": 1, "seconds": 1.0,
            },
            {
                "id": "evaluate", "kind": "evaluate", "inputs": ["tokenizer", "prepare-code", "prepare-prose", "train"],
                "source": None, "devices": 1, "seconds": 1.0,
            },
            {"id": "export", "kind": "export", "inputs": ["tokenizer", "train"], "source": None, "devices": 1, "seconds": 1.0},
        ],
        "provenance": {},
    }  # fmt: skip
    for section, change in changes.items():
        if isinstance(change, dict) and section != "provenance":
            plan[section] = {**(plan.get(section) or {}), **change}
        else:
            plan[section] = change
    plan["algorithms"] = [lowered(spec) for spec in plan["algorithms"]]
    return RunPlan.model_validate(plan)


def lowered(spec: Mapping[str, Any]) -> dict[str, Any]:
    """An algorithm with what a test leaves out: plans have no defaults."""
    found = {**_LOWERED.get(str(spec["kind"]), {}), **spec}
    if "teachers" in found:
        found["teachers"] = [{**_NOWHERE, **teacher} for teacher in found["teachers"]]
    return found
