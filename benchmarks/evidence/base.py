"""What the experiments on text share: a small llama on CPython's library and documentation, and its parts as recipes."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.evidence.experiment import Recipe

__all__ = ["BATCH", "LENGTH", "named", "sequence"]

LENGTH: Final = 128
BATCH: Final = 2048
"""Tokens of a step."""

_MODEL: Final = {"family": "llama", "hidden_size": 96, "num_layers": 2, "num_heads": 4, "intermediate_size": 256}


def sequence(
    runs: list[Recipe], *, weights: dict[str, float] | None = None, retention: list[str] | None = None
) -> Recipe:
    """A recipe of several runs on code and prose, one after the other.

    Args:
        runs: items of `sequence`.
        weights: of the mixture; default: half and half.
        retention: sources that are measured without being trained on.
    """
    evaluation: dict[str, Any] = {"holdout": 0.02, "max_tokens": 40_000, "interval": "1dur"}
    if retention:
        evaluation["retention"] = retention
    return {
        "name": "evidence",
        "model": dict(_MODEL),
        "tokenizer": {"vocab_size": 2048, "max_bytes": "4MB"},
        "data": {
            "sequence_length": LENGTH,
            "sources": {"code": {"builtin": "cpython-library"}, "prose": {"builtin": "cpython-docs"}},
            "mixture": [{"from": "0dur", "weights": weights or {"code": 0.5, "prose": 0.5}}],
        },
        "training": {
            "batch": f"{BATCH} tok",
            "optimizer": {"lr": 3e-3},
            "schedule": {"warmup": "0.05dur"},
            "gradient_clipping": {"kind": "norm", "threshold": 1.0},
        },
        "evaluation": evaluation,
        "checkpoints": {"export": False, "interval": "1dur", "keep": 1},
        "logging": {"console": False, "interval": "20ba"},
        "launch": {"workers": 0},
        "sequence": runs,
    }


def named(name: str, seed: int, steps: int, **keys: Any) -> Recipe:
    """An item of `sequence`: a run of so many steps with its own seed; `keys` are merged over the recipe."""
    training = {"duration": f"{steps}ba", **keys.pop("training", {})}
    return {"name": name, "seed": seed, "training": training, **keys}
