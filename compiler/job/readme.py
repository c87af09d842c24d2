"""What the README of a job folder says, taken from the plan; templates/README.md.j2 gives it its form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from compiler.job.yaml_out import one_line
from compiler.mixing.stretches import stretches
from compiler.render.sequence import limits, rows, teaching
from compiler.render.words import when
from schemas.plan import RunPlan
from schemas.sources import SOURCE_KINDS, Source
from schemas.techniques import AnyAlgorithm
from schemas.units import format_count

__all__ = ["SourceRow", "TechniqueRow", "readme_values", "source_origin"]

# More phases than this would push the rest of the page out of sight.
_MAX_PHASES: Final = 12


@dataclass(frozen=True)
class SourceRow:
    """One source over the whole run; `share` is of the run's tokens."""

    name: str
    origin: str
    samples: int
    tokens: int
    share: float


@dataclass(frozen=True)
class TechniqueRow:
    """One technique: when it is active, and its settings in flow form."""

    kind: str
    window: str
    settings: str


def readme_values(plan: RunPlan) -> dict[str, Any]:
    """Names that the template uses."""
    return {
        "plan": plan,
        "sources": [_source(plan, name) for name in plan.data.sources],
        "techniques": [_technique(plan, algorithm) for algorithm in plan.algorithms],
        "tokenizer_place": (plan.tokenizer.path or plan.tokenizer.hub) if plan.tokenizer else None,
        "stretches": stretches(plan),
        "max_phases": _MAX_PHASES,
        "runs": rows(plan),
        "teaching": teaching(plan),
        "run_limits": limits(plan),
    }


def _source(plan: RunPlan, name: str) -> SourceRow:
    shares = [phase.sources[name] for phase in plan.data.phases if name in phase.sources]
    tokens = sum(share.tokens for share in shares)
    return SourceRow(
        name,
        source_origin(plan.data.sources[name]),
        sum(s.samples for s in shares),
        tokens,
        tokens / plan.budget.tokens,
    )


def source_origin(source: Source) -> str:
    """Kind and place of a source: `jsonl: data/*.jsonl`."""
    dumped = source.model_dump(mode="json")
    kind = next(key for key in SOURCE_KINDS if key in dumped)
    place = dumped[kind] if isinstance(dumped[kind], str) else ", ".join(dumped[kind])
    return f"{kind}: {place}"


def _technique(plan: RunPlan, algorithm: AnyAlgorithm) -> TechniqueRow:
    settings = one_line(algorithm.model_dump(mode="json", exclude={"kind", "window"}))[1:-1]
    return TechniqueRow(
        algorithm.kind, when(algorithm.window, plan.budget.tokens, format_count, plan.counted), settings
    )
