"""What the run draws of each source: tokens, share, epochs, and when it has been read once; held against the recipe's limits."""

from __future__ import annotations

import math
from collections.abc import Sequence

from compiler.draft import Draft
from schemas.diagnostics import Severity
from schemas.forecast import Exposure
from schemas.plan import PhasePlan

__all__ = ["check_limits", "exposure", "token_of_draw"]

# Past about four epochs repeated tokens teach less (Muennighoff et al. 2023, arXiv 2305.16264).
_USUAL_EPOCHS = 4.0


def exposure(draft: Draft) -> dict[str, Exposure]:
    """Each source of the plan's data; epochs only of those whose recipe says how many tokens they have."""
    phases, total = draft.data.phases, draft.batch.total_tokens
    found = {}
    for name in draft.data.sources:
        drawn, unique = _drawn(phases, name), _unique(draft, name)
        found[name] = Exposure(
            tokens=drawn,
            share=drawn / total,
            epochs=None if unique is None else drawn / unique,
            read_up_token=None if unique is None else token_of_draw(phases, name, unique),
        )
    return found


def token_of_draw(phases: Sequence[PhasePlan], name: str, tokens: float) -> int | None:
    """Token of the run by which so many tokens of a source have been drawn, spread evenly over each phase; None if never."""
    before = 0
    for phase in phases:
        drawn = phase.sources[name].tokens if name in phase.sources else 0
        if drawn and before + drawn >= tokens:
            return phase.start_token + round((tokens - before) / drawn * (phase.end_token - phase.start_token))
        before += drawn
    return None


def _drawn(phases: Sequence[PhasePlan], name: str) -> int:
    return sum(phase.sources[name].tokens for phase in phases if name in phase.sources)


def _unique(draft: Draft, name: str) -> float | None:
    """Tokens of a source that are trained on, without what is held out; None where the recipe doesn't say."""
    tokens = draft.recipe.data.sources[name].tokens
    return None if tokens is None else tokens * (1 - draft.recipe.evaluation.holdout)


def check_limits(draft: Draft, phases: tuple[PhasePlan, ...]) -> Draft:
    """Findings where a source would run dry, be read too often (RC405) or too little (RC414)."""
    for name, source in draft.recipe.data.sources.items():
        drawn, unique = _drawn(phases, name), _unique(draft, name)
        if unique is not None and drawn:
            draft = _check_epochs(draft, phases, name, drawn, unique)
        if source.min_tokens is not None and drawn < source.min_tokens:
            share = source.min_tokens / draft.batch.total_tokens
            line = f"min_tokens: {drawn}" if drawn else f"delete `min_tokens`, or give `{name}` a weight"
            draft = draft.find(
                draft.diagnostic(
                    "RC414",
                    f"the run draws {drawn} tokens of `{name}`, {drawn / draft.batch.total_tokens:.2%} of all",
                    "data", "sources", name, "min_tokens",
                    help=line + (f"   # or a mean weight of {share:.3g}" if share <= 1 and drawn else ""),
                    reason="`min_tokens` is what the run must draw at least" if share <= 1 else
                    f"the whole run is {draft.batch.total_tokens} tokens",
                )
            )  # fmt: skip
    return draft


def _check_epochs(draft: Draft, phases: tuple[PhasePlan, ...], name: str, drawn: int, unique: float) -> Draft:
    most = draft.recipe.data.sources[name].max_epochs
    if (
        most is None and draft.is_classifier
    ):  # 90 passes over ImageNet are usual (He et al. 2016): the advice is about text
        return draft
    epochs, limit = drawn / unique, most or _USUAL_EPOCHS
    if epochs <= limit:
        return draft
    dry = token_of_draw(phases, name, unique * limit) or 0
    fatal = most is not None
    return draft.find(
        draft.diagnostic(
            "RC405",
            f"`{name}` is read {epochs:.3g} times over: {drawn} tokens of {unique:.0f} that are trained on",
            "data", "sources", name, "max_epochs" if fatal else "tokens",
            # Rounded up, so that the line is enough.
            help=f"max_epochs: {math.ceil(epochs * 10) / 10:.12g}   # or a lower weight of `{name}`, or more data",
            reason=f"epoch {limit:g} of it ends at step {dry // draft.batch.tokens} of {draft.batch.steps}",
            severity=Severity.ERROR if fatal else Severity.WARNING,
        )
    )  # fmt: skip
