"""What makes two plans the same: identity against execution and money, and what a checkpoint binds.

The fingerprint covers all that gives a run its meaning: what is trained, on what, on which devices. Left out: where and how
it runs (`execution`, `logging`, how often it is saved), what predicts, prices or limits it (`budget`, `estimate`, the seconds
of a step, the figures of a device: what they decided stands in `model`, `training` and `parallelism`), and where values came
from (`provenance`). So another price or a raised cap is the same run, in the same folder. The resume key covers less: what must
be equal for the weights, the optimizer's state and the place in the data of a checkpoint to go on making sense.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from schemas.plan import RunPlan

__all__ = ["canonical_json", "fingerprint", "resume_conflicts", "resume_key"]

_OUTSIDE: Final = frozenset({"fingerprint", "resume_key", "execution", "logging", "budget", "estimate", "provenance"})
# Of `hardware`, what a run is: the other figures are memory, speed and money, which only estimates read.
_DEVICES: Final = ("gpu", "count", "per_node")
# Of `checkpoints`: a run that is saved more or less often is the same run.
_SAVING: Final = frozenset({"interval_steps", "keep"})

# Dotted path -> why a checkpoint can't be continued when it differs.
_BOUND: Final[dict[str, str]] = {
    "seed": "the order of the data would change, so samples would be repeated and others left out",
    "model.family": "the weights have other names and shapes",
    "model.vocab_size": "the embedding has another shape",
    "model.hidden_size": "the weights have other shapes",
    "model.num_layers": "the model has other layers",
    "model.num_heads": "the attention weights mean other heads",
    "model.num_kv_heads": "the attention weights have other shapes",
    "model.intermediate_size": "the weights have other shapes",
    "model.max_sequence_length": "the positions have another range",
    "model.tie_embeddings": "the output layer is shared in one and not in the other",
    "model.rope_theta": "positions would mean something else to the trained weights",
    "model.norm_eps": "the trained weights would compute something else",
    "tokenizer": "token ids would mean other words",
    "data.sequence_length": "samples are cut otherwise, so the place in the data is lost",
    "data.sources": "the samples behind the place in the data would be others",
    "data.selection": "the samples behind the place in the data would be others",
    "data.phases": "the order of the samples would change, so some would be repeated and others left out",
    "evaluation.holdout": "documents would move between held-out and training data",
    "training.global_batch_samples": "the place in the data is counted in batches",
    "training.optimizer.kind": "the optimizer's state has another form",
    "precision.param": "the weights are stored in another format",
    "algorithms": "the techniques' state in the checkpoint belongs to other settings",
}


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces, exact floats; NaN, infinities and foreign objects are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _identity(plan: RunPlan) -> dict[str, Any]:
    content = plan.model_dump(mode="json", by_alias=True, exclude=set(_OUTSIDE))
    content["hardware"] = {key: content["hardware"][key] for key in _DEVICES}
    content["checkpoints"] = {key: value for key, value in content["checkpoints"].items() if key not in _SAVING}
    for step in content["steps"]:
        del step["seconds"]
    return content


def fingerprint(plan: RunPlan) -> str:
    """sha256 over the identity of a plan, as 64 hexadecimal digits."""
    return _digest(_identity(plan))


def _bound(plan: RunPlan) -> dict[str, Any]:
    content = plan.model_dump(mode="json", by_alias=True, include={path.split(".")[0] for path in _BOUND})
    bound = {}
    for path in _BOUND:
        value: Any = content
        for key in path.split("."):
            value = value[key]
        bound[path] = value
    return bound


def resume_key(plan: RunPlan) -> str:
    """sha256 over what a checkpoint binds, as 64 hexadecimal digits."""
    return _digest(_bound(plan))


def resume_conflicts(old: RunPlan, new: RunPlan) -> tuple[tuple[str, str], ...]:
    """(path, reason) of every difference that forbids to continue a checkpoint of `old` under `new`."""
    before, after = _bound(old), _bound(new)
    return tuple((path, reason) for path, reason in _BOUND.items() if before[path] != after[path])
