"""What a training forgot of sources that it did not train on: nats per token lost on their held-out text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["forgotten"]


def forgotten(sources: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> dict[str, Any] | None:
    """Held-out loss after training minus that before, by source and on average; negative where something was learnt.

    Args:
        sources: what the step `evaluate` measured: `untrained` and `trained`, each with a `loss` in nats per token.
        names: those that the plan wants to see; one without held-out text is left out.
    """
    lost = {
        name: float(sources[name]["trained"]["loss"]) - float(sources[name]["untrained"]["loss"])
        for name in names
        if name in sources
    }
    return {"nats": lost, "mean_nats": sum(lost.values()) / len(lost)} if lost else None
