"""Which findings only follow from a value that is wrong itself: one mistake is told once."""

from __future__ import annotations

from typing import Final

from compiler.frontend.spans import PathKey, parse_path
from schemas.diagnostics import Diagnostic

__all__ = ["follows"]

_READ_MODEL: Final[dict[str, tuple[PathKey, ...]]] = {
    "RC203": (("compression",), ("distillation",), ("training", "adapter")),
    "RC204": ((),),
}
"""Where findings of a code are about a model's layers: after an error in `model` these are a stand-in's."""
_READ_OBJECTIVE: Final = frozenset({"RC203", "RC204", "RC416"})
"""Codes of what doesn't go with the objective: a wrong one is read as `causal_lm`."""
_TECHNIQUES: Final[tuple[tuple[PathKey, int], ...]] = (
    (("compression",), 2),
    (("distillation",), 1),
    (("averaging",), 1),
    (("training", "adapter"), 2),
    (("evaluation", "bias"), 2),
)
"""Sections whose keys are judged by each other, with the length of the path of one: an item of `compression` has two parts."""
_NO_DIMENSIONS: Final[frozenset[PathKey]] = frozenset({("dropout",), ("rope_theta",), ("init_std",), ("attention",)})


def follows(finding: Diagnostic, cut: PathKey) -> bool:
    """Whether a finding is about a value that was cut out, something inside it, what it was to make complete, a key beside it
    that doesn't go with the default in its place, or the model or objective that stands in for it.
    """
    path = parse_path(finding.path) if finding.path else ()
    shorter = min(len(path), len(cut))
    if path[:shorter] == cut[:shorter]:
        return True
    if finding.code == "RC203" and any(path[:n] == cut[:n] for place, n in _TECHNIQUES if cut[: len(place)] == place):
        return True
    if cut in (("objective",), ("objective", "kind")):
        return finding.code in _READ_OBJECTIVE
    if cut in (("model",), ("model", "start"), ("model", "start", "run")) and path[:2] == ("evaluation", "bias"):
        return True
    if cut[:1] != ("model",) or cut[1:2] in _NO_DIMENSIONS:
        return False
    return any(path[: len(place)] == place for place in _READ_MODEL.get(finding.code, ()))
