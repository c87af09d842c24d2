"""What makes two plans the same: identity against execution and money.

The fingerprint covers all that gives a run its meaning: what is trained, on what, on which devices. Left out: where and how
it runs (`execution`, `logging`, how often it is saved), what predicts, prices or limits it (`budget`, `estimate`, `techniques`,
`shipped`, `totals`, the seconds of a step, the figures of a device, the limits of a comparison: what they decided stands in
`model`, `training` and `parallelism`), and where values came from (`provenance`). So another price or a raised cap is the same
run, in the same folder. Runs before this one count by their own fingerprints. The resume key covers less: what a checkpoint
binds whatever its step is, see schemas/resume.py.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from schemas.plan import RunPlan
from schemas.resume import bound_values

__all__ = ["canonical_json", "fingerprint", "resume_key"]

_OUTSIDE: Final = frozenset(
    {
        "fingerprint",
        "resume_key",
        "execution",
        "logging",
        "budget",
        "estimate",
        "techniques",
        "shipped",
        "provenance",
        "totals",
        "earlier",
    }
)
# Of `hardware`, what a run is: the other figures are memory, speed and money, which only estimates read.
_DEVICES: Final = ("gpu", "count", "per_node")
# Of `checkpoints`: a run that is saved more or less often is the same run.
_SAVING: Final = frozenset({"interval_steps", "keep"})
# Of `evaluation.bias`: limits that judge what was measured; one that is raised lets the same run be exported.
_LIMITS: Final = frozenset({"max_cev", "max_sde"})


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
    bias = content["evaluation"]["bias"]
    if bias is not None:
        content["evaluation"]["bias"] = {key: value for key, value in bias.items() if key not in _LIMITS}
    content["earlier"] = [run.fingerprint for run in plan.earlier]
    return content


def fingerprint(plan: RunPlan) -> str:
    """sha256 over the identity of a plan, as 64 hexadecimal digits."""
    return _digest(_identity(plan))


def resume_key(plan: RunPlan) -> str:
    """sha256 over what a checkpoint binds but for the mixture, whose future may change, as 64 hexadecimal digits."""
    return _digest(bound_values(plan))
