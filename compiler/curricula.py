"""Curricula of the recipe, over the mix or of single sources, with every time in tokens; findings where one can't do its work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from compiler.draft import Draft
from schemas.curriculum import Curriculum, CurriculumPlan, competence
from schemas.diagnostics import Related, Severity
from schemas.plan import PhasePlan
from schemas.sources import MdsSource

__all__ = ["curricula", "home"]

Path = tuple[str | int, ...]

_LOOKS = 256
"""Times at which the pool is compared with the draws."""
_ROOM = 1.001
"""Draws and pools differ by a sample or so where they should be equal; that is no pool that runs dry."""


def home(draft: Draft, name: str) -> Path:
    """Where the recipe says the curriculum of source `name`, which has one."""
    if draft.recipe.data.sources[name].curriculum is not None:
        return "data", "sources", name, "curriculum"
    return _shared(draft)[0][0]


def curricula(draft: Draft, phases: Sequence[PhasePlan]) -> tuple[Draft, dict[str, CurriculumPlan]]:
    """Each source that has a curriculum, its own before the shared one, in alphabetical order; and the findings (RC415)."""
    sources, shared = draft.recipe.data.sources, _shared(draft)
    draft = _only_one(draft, shared)
    lengths: dict[Path, int] = {}
    found = {}
    for name in sorted(sources):
        own = sources[name].curriculum
        said = own or (shared[0][1] if shared else None)
        if said is None:
            continue
        path = home(draft, name)
        if path not in lengths:
            draft, lengths[path] = _steps(draft, said, path)
        found[name] = _decided(said, lengths[path] * draft.batch.tokens, "source" if own else "mix")
        draft = _check_pool(draft, name, found[name], phases)
        draft = _check_locality(draft, name)
    if shared and shared[0][0] not in lengths:
        draft = draft.find(
            draft.diagnostic(
                "RC415", "every source has a curriculum of its own, so that this one orders nothing", *shared[0][0],
                help="delete it, or the `curriculum` of a source", severity=Severity.WARNING,
            )
        )  # fmt: skip
    return draft, found


def _shared(draft: Draft) -> list[tuple[Path, Curriculum]]:
    """Curricula of difficulty under `data.curriculum`; there should be one at most."""
    said = draft.recipe.data.curriculum
    if isinstance(said, Curriculum):
        return [(("data", "curriculum"), said)]
    entries = said if isinstance(said, tuple) else ()
    return [(("data", "curriculum", i), entry) for i, entry in enumerate(entries) if isinstance(entry, Curriculum)]


def _only_one(draft: Draft, shared: Sequence[tuple[Path, Curriculum]]) -> Draft:
    """Findings for further curricula over the mix, each with the first one's line."""
    for path, _ in shared[1:]:
        first = draft.spans.nearest(*shared[0][0])
        finding = draft.diagnostic(
            "RC201", "the mix has one order of difficulty, and this is another", *path,
            help="delete one of the two, or give it to a source: `data.sources.NAME.curriculum`",
        )  # fmt: skip
        related = (Related(span=first, message="the first one"),) if first else ()
        draft = draft.find(finding.model_copy(update={"related": related}))
    return draft


def _steps(draft: Draft, said: Curriculum, path: Path) -> tuple[Draft, int]:
    """Steps until all samples may be drawn, 1 or more, with a finding where they aren't within the run."""
    unknown = len(draft.findings)
    draft, steps = draft.steps_of(said.duration, *path, "duration")
    if len(draft.findings) > unknown:
        return draft, 1
    what = ""
    if said.duration.value <= 0:
        what = "a curriculum that is over before the first batch orders nothing"
    elif steps > draft.batch.steps:
        what = f"{said.duration} is step {steps}, the run has {draft.batch.steps}: not all samples would come in"
    if what:
        draft = draft.find(draft.diagnostic("RC415", what, *path, "duration", help="duration: 0.5dur"))
    return draft, max(1, min(steps, draft.batch.steps))


def _decided(said: Curriculum, end_token: int, scope: Literal["source", "mix"]) -> CurriculumPlan:
    return CurriculumPlan(
        metric=said.by,
        model=said.model,
        order=said.order,
        pacing=said.pacing,
        start=said.start,
        end_token=end_token,
        power=said.decided_power,
        growth=said.decided_growth if said.pacing == "exponential" else 1.0,
        stages=said.decided_stages,
        buckets=said.buckets,
        scope=scope,
    )


def _check_pool(draft: Draft, name: str, plan: CurriculumPlan, phases: Sequence[PhasePlan]) -> Draft:
    """A warning where the source is read faster than its pool grows. Sources that don't say their size are not looked at."""
    size = draft.recipe.data.sources[name].tokens
    if size is None:
        return draft
    unique = size * (1 - draft.recipe.evaluation.holdout)
    dry = _runs_dry(plan, phases, name, unique)
    if dry is None:
        return draft
    steps = draft.batch.tokens
    shorter = plan
    while (end := shorter.end_token // steps // 2) and _runs_dry(shorter, phases, name, unique) is not None:
        shorter = plan.model_copy(update={"end_token": end * steps})
    help_ = f"duration: {shorter.end_token // steps}ba" if end else "start: 1   # or more data, or a lower weight"
    return draft.find(
        draft.diagnostic(
            "RC415",
            f"from step {dry // steps} on `{name}` has been read of all that its curriculum lets in: what comes next in rank "
            f"comes at once, whatever the pacing says",
            *home(draft, name), "duration",
            help=help_,
            reason=f"it is read {_drawn(phases, name, [plan.end_token])[0] / unique:.2g} times over by the curriculum's end",
            severity=Severity.WARNING,
        )
    )  # fmt: skip


def _runs_dry(plan: CurriculumPlan, phases: Sequence[PhasePlan], name: str, unique: float) -> int | None:
    """First token, of some looks, before which a source's first pass draws more than the pool lets in; None if never."""
    looks = [plan.end_token * i // _LOOKS for i in range(_LOOKS + 1)]
    for token, drawn in zip(looks, _drawn(phases, name, looks), strict=True):
        # Just before `end_token` not all of it is in.
        if drawn > _ROOM * unique * competence(plan, min(token, plan.end_token - 1)):
            return token
    return None


def _drawn(phases: Sequence[PhasePlan], name: str, looks: Sequence[int]) -> list[float]:
    """Tokens of a source before rising tokens of the run, spread evenly over each phase."""
    found, before, number = [], 0, 0
    for token in looks:
        while number < len(phases) and phases[number].end_token <= token:
            before += _tokens(phases[number], name)
            number += 1
        inside = 0.0
        if number < len(phases):
            phase = phases[number]
            inside = _tokens(phase, name) * (token - phase.start_token) / (phase.end_token - phase.start_token)
        found.append(before + inside)
    return found


def _tokens(phase: PhasePlan, name: str) -> int:
    return phase.sources[name].tokens if name in phase.sources else 0


def _check_locality(draft: Draft, name: str) -> Draft:
    """A warning for shards in an object store, of which an order by scores needs all at any time."""
    source = draft.recipe.data.sources[name]
    if not isinstance(source, MdsSource) or source.content != "tokens" or "://" not in source.mds:
        return draft
    return draft.find(
        draft.diagnostic(
            "RC415",
            f"ranks of `{name}` lie all over its shards, so that any of them may be needed at any time",
            *home(draft, name),
            help="give `launch.cache` room for all of its shards, or copy them and name the folder under `mds:`",
            severity=Severity.WARNING,
        )
    )
